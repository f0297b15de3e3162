"""Reads Omniglot (Lake et al. 2015) from its zip files or unpacked folders, which may come from anywhere.

A drawing is a PNG file SET/ALPHABET/CHARACTER/NAME.png, dark ink on a light ground.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from npcmeta import archives, files

SIDE = 28
"""Pixels of a side, after resizing."""
MAX_ZIP_BYTES = 64 << 20
MAX_FILES = 50_000
"""Files in all: more than one and a half times those of the whole of Omniglot."""
MAX_FILE_BYTES = 64 << 10
MAX_SIDE = 512

Place = tuple[str, str, str]
"""Set, alphabet and character of a drawing."""


class DrawingsError(ValueError):
    """A source of drawings that is missing, damaged, too large or of another kind."""


class Drawings(NamedTuple):
    """Characters of some alphabets, each drawn by the same number of people."""

    places: tuple[Place, ...]  # of every character
    pictures: Tensor  # [characters, people, SIDE, SIDE] uint8, 255 = ink


def read_drawings(path: Path) -> Drawings:
    """Reads every drawing in a zip file, or in a folder of zip files and unpacked folders.

    Raises:
        DrawingsError: If there are none, or something there is not as it should be.
    """
    found: dict[Place, list[np.ndarray]] = {}
    for number, (source, name, data) in enumerate(_files(path)):
        if number >= MAX_FILES:
            raise DrawingsError(f"{path}: more than {MAX_FILES:,} drawings; is this Omniglot?")
        parts = PurePosixPath(name).parts
        if len(parts) < 4:
            raise DrawingsError(f"{source}: {name}: expected SET/ALPHABET/CHARACTER/NAME.png")
        found.setdefault((parts[-4], parts[-3], parts[-2]), []).append(_decode(data, f"{source}: {name}"))
    if not found:
        raise DrawingsError(
            f"{path}: no drawings; expected Omniglot's zip files, like images_background_small1.zip, or what they hold"
        )
    people = {place: len(pictures) for place, pictures in found.items()}
    usual = max(people.values())
    for place, count in people.items():
        if count != usual:
            raise DrawingsError(f"{path}: {'/'.join(place)} was drawn {count} times, others {usual} times")
    return Drawings(tuple(found), torch.from_numpy(np.stack([np.stack(each) for each in found.values()])))


def of_sets(drawings: Drawings, *names: str) -> Drawings:
    """The characters of some sets.

    Raises:
        DrawingsError: If one of the sets has no characters.
    """
    for name in names:
        if all(place[0] != name for place in drawings.places):
            there = ", ".join(sorted({place[0] for place in drawings.places}))
            raise DrawingsError(f"there is no set {name} among the drawings; they are of {there}")
    return select(drawings, [place[0] in names for place in drawings.places])


def select(drawings: Drawings, wanted: list[bool]) -> Drawings:
    """The characters for which `wanted` is true."""
    places = tuple(place for place, chosen in zip(drawings.places, wanted, strict=True) if chosen)
    return Drawings(places, drawings.pictures[torch.tensor(wanted)])


def turned(drawings: Drawings) -> Drawings:
    """The characters, and those that come of turning them by 90, 180 and 270 degrees, each an alphabet of its own."""
    turns = range(4)
    places = tuple(
        (place[0], f"{place[1]}, {90 * turn} degrees", place[2]) for turn in turns for place in drawings.places
    )
    return Drawings(places, torch.cat([drawings.pictures.rot90(turn, (2, 3)) for turn in turns]))


def _files(path: Path) -> Iterator[tuple[Path, str, bytes]]:
    """Every PNG file below a path, in order of name: where it is, its name there, and its content."""
    if path.is_dir():
        for archive in sorted(filter(Path.is_file, path.glob("*.zip"))):
            yield from _members(archive)
        for file in sorted(filter(Path.is_file, path.rglob("*.png"))):
            yield path, PurePosixPath(path.name, *file.relative_to(path).parts).as_posix(), _content(file)
    elif path.exists():
        yield from _members(path)
    else:
        raise DrawingsError(f"{path}: there is no such file or folder")


def _content(file: Path) -> bytes:
    try:
        data = files.read_up_to(file, MAX_FILE_BYTES)
    except OSError as error:
        raise DrawingsError(f"{file}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_FILE_BYTES:
        raise DrawingsError(f"{file}: more than {MAX_FILE_BYTES:,} bytes; expected a small drawing")
    return data


def _members(archive: Path) -> Iterator[tuple[Path, str, bytes]]:
    if (size := archive.stat().st_size) > MAX_ZIP_BYTES:
        raise DrawingsError(f"{archive}: {size:,} bytes, expected at most {MAX_ZIP_BYTES:,}")
    try:
        with archives.opened(archive, MAX_FILES) as opened:
            for member in sorted(opened.infolist(), key=lambda member: member.filename):
                if member.filename.endswith(".png") and not PurePosixPath(member.filename).name.startswith("."):
                    yield archive, member.filename, _unpacked(opened, member, archive)
    except DrawingsError:
        raise
    except (*archives.UNREADABLE, OSError) as error:
        raise DrawingsError(f"{archive}: not an intact zip file ({error})") from error


def _unpacked(opened: zipfile.ZipFile, member: zipfile.ZipInfo, archive: Path) -> bytes:
    # What a member says of its own size may be a lie, so no more is read than is allowed.
    with opened.open(member) as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise DrawingsError(
            f"{archive}: {member.filename}: more than {MAX_FILE_BYTES:,} bytes; expected a small drawing"
        )
    return data


def _decode(data: bytes, source: str) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow only warns of the largest pictures
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                if max(picture.size) > MAX_SIDE:
                    raise DrawingsError(f"{source}: {picture.size} pixels, expected at most {MAX_SIDE} a side")
                grey = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    except DrawingsError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        zlib.error,
        struct.error,
        Warning,
        Image.DecompressionBombError,
    ) as error:
        raise DrawingsError(f"{source}: not an intact PNG picture ({error})") from error
    return 255 - np.asarray(grey, np.uint8)
