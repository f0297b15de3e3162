"""How long one step of Muon takes on the matrices of an arena archetype: ours in float32, and torch's in bfloat16.

OMP_NUM_THREADS=1 python benchmarks/muon_speed.py
ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/muon_speed.py    # as on a processor without bfloat16 instructions
"""

from __future__ import annotations

import statistics
import time

import torch

from npcmeta import training
from npcmeta.optimizers import Guided, muon
from npcmeta.tasks.arena.family import SPEC

ROUNDS, STEPS = 7, 20


def main() -> None:
    torch.set_num_threads(1)
    learner = training.choose_settings("arena", "cnp", {}).build(SPEC)
    matrices = [value for value in learner.init(torch.Generator().manual_seed(0)).values() if value.dim() == 2]
    for value in matrices:
        value.requires_grad_().grad = torch.randn(value.shape)
    optimizers = {
        "ours, float32": Guided(matrices, 1e-3, 0.05, muon),
        "torch's, bfloat16": torch.optim.Muon(matrices, 1e-3, 0.05, adjust_lr_fn="match_rms_adamw"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in optimizers}
    for _ in range(ROUNDS):  # interleaved, as the machine may be shared
        for name, optimizer in optimizers.items():
            began = time.process_time()
            for _ in range(STEPS):
                optimizer.step()
            seconds[name].append((time.process_time() - began) / STEPS)
    ours, theirs = (statistics.median(found) for found in seconds.values())
    print(f"{len(matrices)} matrices: ours {1e3 * ours:.1f} ms a step, torch's {1e3 * theirs:.1f} ms,", end=" ")
    print(f"{theirs / ours:.1f} times as long")


if __name__ == "__main__":
    main()
