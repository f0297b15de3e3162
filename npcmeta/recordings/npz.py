"""Recordings as .npz files: `observations`, `continuous_actions`, `discrete_actions`, and what is optional.

A file is untrusted. Sizes are taken from the zip directory and the arrays' own headers, and compared with each other
and with the limits, before any array is unpacked; nothing in a file is ever unpickled.
"""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npcmeta import archives
from npcmeta.recordings.recording import (
    MAX_BRANCHES,
    MAX_BYTES,
    Recording,
    RecordingError,
    check,
    check_branch_sizes,
    check_counted_from_zero,
    check_extent,
    unmasked,
)

MAX_MEMBERS = 64
MAX_HEADER = 4096
MAGIC = b"\x93NUMPY"
HEADER = re.compile(
    r"\{\s*'descr':\s*'([<|]?(?:[iu][1248]|f[248]|b1))',\s*'fortran_order':\s*(True|False),\s*"
    r"'shape':\s*\(((?:\d{1,18}(?:,\s*\d{1,18})*,?)?)\),?\s*\}\s*"
)


class Expected(NamedTuple):
    """What an array has to be: kinds of numbers (numpy's letters), and its axes."""

    kinds: str
    kind_names: str
    axes: tuple[str, ...]


REALS = ("f", "float32")
WHOLE = ("iu", "int64")
SWITCH = ("b", "bool")
ARRAYS = {
    "observations": Expected(*REALS, ("T", "O")),
    "continuous_actions": Expected(*REALS, ("T", "C")),
    "discrete_actions": Expected(*WHOLE, ("T", "B")),
    "action_masks": Expected(*SWITCH, ("T", "W")),
    "episode_starts": Expected(*SWITCH, ("T",)),
    "rewards": Expected(*REALS, ("T",)),
    "branch_sizes": Expected(*WHOLE, ("B",)),
    "tick_rate_hz": Expected("fiu", "a number", ()),
}


class Found(NamedTuple):
    """An array of the file as its header describes it."""

    member: zipfile.ZipInfo
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int  # bytes before its data


def read_npz(path: Path, branch_sizes: tuple[int, ...] | None = None) -> Recording:
    """Reads one recording.

    Args:
        path: The file.
        branch_sizes: Choices of each discrete branch, if known, which the file's own must not contradict; if
            neither says it, the width of a single branch's mask does, or the largest choice plus one.

    Raises:
        RecordingError: If the file is not such a recording; the message names the array and what was expected.
    """
    source = str(path)
    arrays, notes = _read_arrays(path)
    recording = _assemble(arrays, branch_sizes, source)
    return check(recording._replace(name=path.stem, notes=notes), source)


def _read_arrays(path: Path) -> tuple[dict[str, NDArray], tuple[str, ...]]:
    source = str(path)
    try:
        with archives.opened(path, MAX_MEMBERS) as archive:
            known, notes = _directory(archive, source)
            found = {name: _describe(archive, member, name, source) for name, member in known.items()}
            _check_steps(found, source)
            return {name: _load(archive, entry, name, source) for name, entry in found.items()}, notes
    except RecordingError:
        raise
    except archives.UNREADABLE as error:
        raise RecordingError(
            f"{source}: not a readable .npz file ({str(error)[:200]}); expected one of numpy.savez: is it cut short? "
            "copy it again"
        ) from None
    except OSError as error:
        raise RecordingError(f"{source}: cannot be read: {error.strerror or error}") from None


def _directory(archive: zipfile.ZipFile, source: str) -> tuple[dict[str, zipfile.ZipInfo], tuple[str, ...]]:
    named = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    known = {name: member for name, member in named.items() if name in ARRAYS}
    total = sum(member.file_size for member in known.values())
    if total > MAX_BYTES:
        raise RecordingError(
            f"{source}: the arrays unpack to {total:,} bytes; expected at most {MAX_BYTES:,}: split the timeline into "
            f"several files, they are read in name order"
        )
    if "observations" not in known:
        names = ", ".join(repr(name)[:60] for name in sorted(named)[:20]) or "nothing"
        raise RecordingError(f"{source}: there is no array observations; found {names}")
    ignored = sorted(repr(name)[:60] for name in set(named) - set(ARRAYS))
    return known, (f"{source}: ignored {', '.join(ignored)}",) if ignored else ()


def _describe(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, source: str) -> Found:
    """Reads an array's header; its shape has to account for exactly the bytes that the directory promises."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RecordingError(f"{source}: {name} is packed with method {member.compress_type}; expected deflate or none")
    with archive.open(member) as stream:
        text, start = _header(stream, name, source)
    matched = HEADER.fullmatch(text)
    expected = ARRAYS[name]
    if matched is None:
        wanted = f"a plain array of numbers ({text.strip()[:120]!r}); expected {expected.kind_names}"
        raise RecordingError(f"{source}: {name} is not {wanted}")
    dtype = np.dtype(matched[1])
    shape = tuple(int(size) for size in matched[3].replace(" ", "").split(",") if size)
    if dtype.kind not in expected.kinds or len(shape) != len(expected.axes):
        wanted = f"{expected.kind_names} [{', '.join(expected.axes)}]"
        column = f": for one column, {name}[:, None]" if (len(shape), len(expected.axes)) == (1, 2) else ""
        raise RecordingError(f"{source}: {name} is {dtype.name} {list(shape)}; expected {wanted}{column}")
    if math.prod(shape) * dtype.itemsize != member.file_size - start:
        raise RecordingError(
            f"{source}: {name} declares the shape {list(shape)} of {dtype.name}, but the file holds "
            f"{member.file_size - start:,} bytes for it"
        )
    return Found(member, dtype, shape, matched[2] == "True", start)


def _header(stream: IO[bytes], name: str, source: str) -> tuple[str, int]:
    head = stream.read(8)
    width = 2 if head[6:7] == b"\x01" else 4
    size = int.from_bytes(stream.read(width), "little")
    if head[:6] != MAGIC or head[6:7] not in (b"\x01", b"\x02", b"\x03") or size > MAX_HEADER:
        raise RecordingError(f"{source}: {name} does not begin as a .npy array does; expected a file of numpy.savez")
    return stream.read(size).decode("latin-1"), 8 + width + size


def _check_steps(found: dict[str, Found], source: str) -> None:
    steps, width = found["observations"].shape
    if steps == 0 or width == 0:
        raise RecordingError(f"{source}: observations is empty ({[steps, width]}); expected at least one step")
    continuous, branches = (
        found[name].shape[1] if name in found else 0 for name in ("continuous_actions", "discrete_actions")
    )
    if branches > MAX_BRANCHES:
        raise RecordingError(f"{source}: discrete_actions has {branches} branches; expected at most {MAX_BRANCHES}")
    check_extent(steps, width, continuous, (1,) * branches, source)
    for name, entry in found.items():
        if ARRAYS[name].axes[:1] == ("T",) and entry.shape[0] != steps:
            raise RecordingError(f"{source}: {name} has {entry.shape[0]} steps; expected {steps}, as in observations")


def _load(archive: zipfile.ZipFile, entry: Found, name: str, source: str) -> NDArray:
    with archive.open(entry.member) as stream:
        data = stream.read()[entry.start :]
    if len(data) != entry.member.file_size - entry.start:
        raise RecordingError(f"{source}: {name} is cut short; expected {entry.member.file_size:,} bytes")
    if entry.dtype.kind == "b":
        # A byte that is neither 0 nor 1 is no valid numpy bool.
        flat = np.frombuffer(data, dtype=np.uint8) != 0
    else:
        flat = np.frombuffer(data, dtype=entry.dtype)
    values = flat.reshape(entry.shape, order="F" if entry.fortran else "C")
    if entry.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(values, dtype=np.float32 if entry.shape else np.float64, order="C")
    return np.asarray(values, dtype=np.int64 if entry.dtype.kind in "iu" else np.bool_, order="C")


def _assemble(arrays: dict[str, NDArray], branch_sizes: tuple[int, ...] | None, source: str) -> Recording:
    steps = len(arrays["observations"])
    discrete = arrays.get("discrete_actions", np.zeros((steps, 0), dtype=np.int64))
    masks = arrays.get("action_masks")
    if "branch_sizes" in arrays:
        own = tuple(arrays["branch_sizes"].tolist())
        if branch_sizes not in (None, own):
            raise RecordingError(f"{source}: branch_sizes is {own}; expected {branch_sizes}")
        branch_sizes = own
    sizes = infer_branch_sizes(discrete, masks, source) if branch_sizes is None else branch_sizes
    check_branch_sizes(sizes, source)
    continuous = arrays.get("continuous_actions", np.zeros((steps, 0), dtype=np.float32))
    check_extent(steps, arrays["observations"].shape[1], continuous.shape[1], sizes, source)
    starts = arrays.get("episode_starts", np.arange(steps) == 0)
    rate = arrays.get("tick_rate_hz")
    return Recording(
        arrays["observations"],
        continuous,
        discrete,
        unmasked(steps, sizes) if masks is None else masks,
        starts,
        arrays.get("rewards", np.zeros(steps, dtype=np.float32)),
        sizes,
        None if rate is None else float(rate),
        branches_declared=branch_sizes is not None or masks is not None,
    )


def infer_branch_sizes(discrete: NDArray[np.int64], masks: NDArray[np.bool_] | None, source: str) -> tuple[int, ...]:
    """Choices of each branch: a single branch's mask says it, otherwise the largest choice seen plus one."""
    if discrete.shape[1] == 1 and masks is not None:
        return (masks.shape[1],)
    check_counted_from_zero(discrete, source)
    sizes = tuple(int(size) for size in discrete.max(0) + 1)
    if masks is not None and sum(sizes) != masks.shape[1]:
        raise RecordingError(
            f"{source}: action_masks has {masks.shape[1]} columns, and the choices seen in discrete_actions make "
            f"{sum(sizes)}; add an array branch_sizes, or name branch_sizes in behavior.json"
        )
    return sizes
