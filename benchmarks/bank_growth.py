"""What acting costs for each NPC while 1,000 to 100,000 others are in memory, in process, without a wire.

OMP_NUM_THREADS=1 python -m benchmarks.bank_growth [--sizes 1000,10000,100000] [--rows 1000] [--frames 100]
                                                   [--learner bayes] [--json FILE]

A bank is filled to each size in turn, every NPC with a state of its own. A frame asks for --rows of them: "side by
side", as a cast that was read at once lies in the bank, and "anywhere", at random places. Medians of processor time,
the ways in turns; the ratios are to the smallest bank and may be 1.2 at most.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.commit_speed import SPEC, archetype_in
from npcmeta_server.acting.ensemble import Ensemble
from npcmeta_server.acting.policy import Frame
from npcmeta_server.catalog import Hosted

MOST = 1.2
"""How many times as much a decision may cost in the largest bank."""


def fill(ensemble: Ensemble, hosted: Hosted, first: int, last: int) -> None:
    """Makes NPCs resident, each with other numbers in its state."""
    for number in range(first, last):
        generator = torch.Generator().manual_seed(number)
        state = {}
        for key, value in hosted.first_state.items():
            state[key] = value + 0.1 * torch.randn(value.shape, generator=generator).to(value.dtype)
        ensemble.bank.put(f"npc-{number}", 1, number, state, hosted.archetype.revision)


def frame_of(rows: np.ndarray, chance: np.random.Generator) -> Frame:
    width = sum(SPEC.action.branch_sizes)
    seen = chance.standard_normal((len(rows), SPEC.observation_size), np.float32)
    noise = np.zeros((len(rows), SPEC.action.continuous_size + width), np.float32)
    return Frame(rows.astype(np.int64), seen, np.ones((len(rows), width), bool), noise)


def measure(ensemble: Ensemble, size: int, rows: int, frames: int) -> dict[str, float]:
    """Microseconds of processor time for a decision, each way."""
    chance = np.random.default_rng(size)
    taken: dict[str, list[float]] = {"side by side": [], "anywhere": []}
    for _ in range(frames):
        first = int(chance.integers(size - rows + 1))
        places = {"side by side": np.arange(first, first + rows), "anywhere": chance.choice(size, rows, replace=False)}
        for way, at in places.items():
            frame = frame_of(at, chance)
            began = time.thread_time()
            ensemble.act([frame])
            taken[way].append((time.thread_time() - began) / rows)
    return {way: 1e6 * statistics.median(seconds) for way, seconds in taken.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--learner", default="bayes")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sizes = sorted(int(text) for text in given.sizes.split(","))
    with tempfile.TemporaryDirectory() as folder:
        hosted = archetype_in(Path(folder), given.learner).hosted["bench"]
    ensemble = Ensemble([hosted], sizes[-1] * hosted.state_bytes)
    found: dict[int, dict[str, float]] = {}
    with Progress() as progress:
        task = progress.add_task("residents", total=sizes[-1])
        for before, size in zip([0, *sizes], sizes, strict=False):
            for first in range(before, size, 1000):
                fill(ensemble, hosted, first, min(size, first + 1000))
                progress.update(task, completed=first)
            measure(ensemble, size, given.rows, 3)
            found[size] = measure(ensemble, size, given.rows, given.frames)
    worst = {way: max(row[way] for row in found.values()) / found[sizes[0]][way] for way in found[sizes[0]]}
    table = Table("NPCs in memory", *worst, title=f"microseconds for a decision; {hosted.state_bytes:,} bytes per NPC")
    for size, row in found.items():
        table.add_row(f"{size:,}", *(f"{value:.1f}" for value in row.values()))
    table.add_row("most, to the smallest", *(f"{value:.2f} x" for value in worst.values()))
    Console().print(table)
    if given.json:
        report = {"bytes_per_npc": hosted.state_bytes, "microseconds": found, "ratios": worst}
        given.json.write_text(json.dumps(report, indent=1))
    return int(max(worst.values()) > MOST)


if __name__ == "__main__":
    sys.exit(main())
