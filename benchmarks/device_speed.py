"""The adapt graph in onnxruntime beside torch's inner loop and beside what the machine's matrix products allow.

OMP_NUM_THREADS=1 python benchmarks/device_speed.py [--repeats 15] [--json FILE]

MAML on the first work of `npcmeta bench inner-loop`: 64-256-256-16, relu, ten examples, five steps of plain SGD, and
the adapted weights of every task written out. Processor time of one thread, in turns, medians. The floor counts the
large products of the steps alone; writing the weights out comes on top.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import Generator

from npcmeta.archetype import Archetype, build_learner
from npcmeta.learners.maml import MamlSettings
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_export import graph, load_session
from npcmeta_export.adapt import adapt_model, example_inputs, examples_from

SPEC = BehaviorSpec(64, ActionSpec(16, ()), 10.0)
SETTINGS = MamlSettings(hidden=(256, 256), inner_rate=0.01, inner_clip=0.0, fixed_std=math.sqrt(0.5))
SHOTS, TASKS, CALLS = 10, (1, 16), 10
GEMM_SECONDS = 0.3


def draft() -> Archetype:
    """An untrained archetype."""
    meta = SETTINGS.build(SPEC).init(Generator().manual_seed(0))
    normaliser = Normaliser((0.0,) * 64, (1.0,) * 64)
    return Archetype("bench", "none", "maml", SETTINGS, SPEC, normaliser, {}, {}, meta, "0" * 64)


def operations() -> int:
    """Floating point operations of the steps of one task: forward, back to all inputs but the first, and gradients."""
    products = [2 * i * o for i, o in itertools.pairwise((64, *SETTINGS.hidden, 16))]
    return SETTINGS.inner_steps * SHOTS * (3 * sum(products) - products[0])


def gflops() -> float:
    """What this machine does in products of these shapes, on one thread."""
    pairs = [(torch.randn(640, i), torch.randn(i, o)) for i, o in itertools.pairwise((64, *SETTINGS.hidden, 16))]
    rounds, began = 0, time.thread_time()
    while (taken := time.thread_time() - began) < GEMM_SECONDS or not rounds:
        for a, b in pairs:
            torch.mm(a, b)
        rounds += 1
    return rounds * sum(2 * len(a) * b.numel() for a, b in pairs) / taken / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    archetype = draft()
    learner = build_learner(archetype)
    session = load_session(graph.to_bytes(adapt_model(archetype, examples=SHOTS)))
    ways = {}
    for tasks in TASKS:
        inputs = example_inputs(archetype, tasks, SHOTS, Generator().manual_seed(1)) | {
            "weight": torch.ones(tasks, SHOTS)
        }
        examples = examples_from(archetype, inputs)
        begun = learner.begin(archetype.meta, tasks, torch.zeros(tasks, 0))
        own = {key: inputs[f"state.{key}"] for key in learner.acting}
        fed: dict[str, np.ndarray] = {name: value.numpy() for name, value in inputs.items()}
        ways[f"onnxruntime, {tasks}"] = lambda fed=fed: session.run(None, fed)
        ways[f"torch from shared weights, {tasks}"] = lambda b=begun, e=examples: learner.update(archetype.meta, b, e)
        ways[f"torch from own weights, {tasks}"] = lambda o=own, e=examples: learner.update(archetype.meta, o, e)
    times: dict[str, list[float]] = {name: [] for name in ways}
    rates = []
    with torch.no_grad():
        for turn in range(options.repeats + 1):
            rates.append(gflops())
            for name, work in ways.items():
                work()  # the caches are as the way before left them
                began = time.thread_time()
                for _ in range(CALLS):
                    work()
                if turn:
                    times[name].append((time.thread_time() - began) / CALLS)
    rate = statistics.median(rates)
    rows = []
    for name, values in times.items():
        speed = int(name.rpartition(" ")[2]) / statistics.median(values)
        share = speed * operations() / rate / 1e9
        rows.append({"way": name, "tasks_per_second": speed, "share_of_floor": share})
        print(f"{name} tasks: {speed:.0f} tasks/s, {100 * share:.0f} % of the floor")
    print(f"matrix products of these shapes: {rate:.0f} GFLOP/s")
    if options.json:
        options.json.write_text(json.dumps({"gflops": rate, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
