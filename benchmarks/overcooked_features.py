"""Compares our features of the Overcooked trials with a file of the same rows.

usage: benchmarks/overcooked_features.py DATA.npz
The file holds X [182204, 91], Y, task (file, pair, seat) and lay, in the order of file, pair, layout, tick, seat.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from npcmeta.tasks.overcooked import Play, convert


def main(path: str) -> int:
    began = time.perf_counter()
    ours = convert()
    print(f"converted {len(ours.action):,} rows in {time.perf_counter() - began:.1f} s")
    with np.load(path, allow_pickle=False) as data:
        theirs = Play(data["X"], data["Y"], data["task"], data["lay"])
    agreed = True
    for name in Play._fields:
        one, other = np.asarray(getattr(ours, name)), np.asarray(getattr(theirs, name))
        same = one.shape == other.shape and np.array_equal(one, other)
        agreed &= same
        print(f"{name:12} {list(one.shape)!s:14} {'equal, bit for bit' if same else 'DIFFERENT'}")
        if not same and one.shape == other.shape:
            print("  rows that differ, by column:", (one != other).reshape(len(one), -1).sum(0).tolist())
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
