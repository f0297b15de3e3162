"""The human trials that come with the package overcooked-ai, read without running anything that is in them.

They are pickled tables. No object is built from such a file but numpy arrays of plain numbers and strings: every class
that it names is replaced by a container for its parts.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import pickle
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FILES = {
    "clean_train_trials.pickle": "28659cfd09ee033d82b56bed905b239f078877e1b09d1f1b916e4bc0480ca4fa",
    "clean_test_trials.pickle": "59979552a053f1efe762de976f37dd83e269d70d19b67613c61e856c86705666",
}
LAYOUTS = ("asymmetric_advantages", "coordination_ring", "cramped_room", "random0", "random3")
DIRECTIONS = ((0, -1), (0, 1), (1, 0), (-1, 0))
"""Up, down, right, left, as (x, y) with y downwards."""

STAY, INTERACT = 4, 5
INSTALL = "pip install 'npcmeta[overcooked]'"


class Trial(NamedTuple):
    """One pair's game on one layout."""

    file: int
    pair: int
    layout: int  # index into LAYOUTS
    grid: tuple[str, ...]  # rows of cells: X counter, O onions, S serving, D dishes, P pot; others can be walked on
    states: list[str]  # [n], one a tick
    actions: NDArray[np.int64]  # [n, 2]: up, down, right, left, stay, interact


def read_trials() -> list[Trial]:
    """All trials of the installed package, by file, pair and layout.

    Raises:
        ModuleNotFoundError: If the package is not installed.
        ValueError: If its files are not those of version 1.1.0.
    """
    folder = _package() / "data" / "human_data"
    return [trial for index, name in enumerate(FILES) for trial in _trials(_table(folder / name), index)]


def _package() -> Path:
    """Where the package is; it is never imported, as its import needs a numpy of long ago."""
    found = importlib.util.find_spec("overcooked_ai_py")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"the overcooked trials come with the package overcooked-ai: {INSTALL}")
    return Path(found.submodule_search_locations[0])


def _trials(table: dict[str, NDArray], file: int) -> Iterator[Trial]:
    layouts = np.array([LAYOUTS.index(name) for name in table["layout_name"]])
    pairs = table["workerid_num"]
    for pair, layout in sorted(set(zip(pairs.tolist(), layouts.tolist(), strict=True))):
        rows = np.flatnonzero((pairs == pair) & (layouts == layout))
        grid = tuple(ast.literal_eval(table["layout"][rows[0]]))
        actions = np.array([_joint_action(text) for text in table["joint_action"][rows]], dtype=np.int64)
        yield Trial(file, pair, layout, grid, table["state"][rows].tolist(), actions)


@cache
def _joint_action(text: str) -> tuple[int, int]:
    first, second = (
        INTERACT if one == "INTERACT" else (*DIRECTIONS, (0, 0)).index(tuple(one)) for one in ast.literal_eval(text)
    )
    return first, second


def _table(path: Path) -> dict[str, NDArray]:
    """The columns of a pickled table by name."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != FILES[path.name]:
        raise ValueError(f"{path}: not the file of overcooked-ai 1.1.0: {INSTALL}")
    _, _, _, parts = _Parts(io.BytesIO(data)).load().state["_data"].state
    axes, blocks = parts["0.14.1"]["axes"], parts["0.14.1"]["blocks"]
    names = axes[0]["data"]
    return {
        names[place]: column
        for block in blocks
        for place, column in zip(block["mgr_locs"], block["values"], strict=True)
    }


class _Part:
    """Stands in for any class of a pickled table."""

    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Parts(pickle.Unpickler):
    """Builds arrays, and containers for everything else that a table is made of."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): lambda code, *_: np.dtype(code),
            ("pandas.core.frame", "DataFrame"): _Part,
            ("pandas.core.internals.managers", "BlockManager"): _Part,
            ("pandas.core.indexes.base", "Index"): _Part,
            ("pandas.core.indexes.numeric", "Int64Index"): _Part,
            ("pandas.core.indexes.base", "_new_Index"): lambda kind, parts: parts,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a table of trials")
        return known[module, name]
