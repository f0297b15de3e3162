"""A tiny Omniglot, made here: characters are strokes on a lattice, and every person draws them a little elsewhere."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN, TEST = "images_background_small1", "images_background_small2"
ALPHABETS = {TRAIN: {"Latin": 5, "Greek": 4}, TEST: {"Latin": 5, "Tagalog": 6, "Sanskrit": 3}}
PEOPLE = 7


def png(seed: int, person: int, side: int = 35) -> bytes:
    """Black strokes on white, one bit a pixel, as Omniglot has them."""
    rng = np.random.default_rng(seed)
    ink = np.zeros((side, side), bool)
    row, column = rng.integers(5, side - 10, 2) + person % 3
    for down, right in rng.integers(-2, 3, (4, 2)):
        for _ in range(6):
            row, column = np.clip([row + down, column + right], 1, side - 2)
            ink[row - 1 : row + 2, column - 1 : column + 2] = True
    stream = io.BytesIO()
    Image.fromarray(~ink).save(stream, "PNG")
    return stream.getvalue()


def drawings(name: str) -> dict[str, bytes]:
    """The files of one set, by their names in its zip file."""
    files = {}
    for number, (alphabet, characters) in enumerate(ALPHABETS[name].items()):
        for character in range(1, characters + 1):
            for person in range(1, PEOPLE + 1):
                path = f"{name}/{alphabet}/character{character:02d}/{number:02d}{character:02d}_{person:02d}.png"
                files[path] = png(len(alphabet) * 100 + character, person)
    return files


def zipped(files: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def unpacked(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def tiny_omniglot(folder: Path) -> Path:
    """A folder with the zip files of both sets."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ALPHABETS:
        zipped(drawings(name), folder / f"{name}.zip")
    return folder
