"""How many NPC-steps per second one core makes in the arena: step, observe, mask and expert together.

OMP_NUM_THREADS=1 python benchmarks/arena_speed.py [--arenas 2048] [--ticks 300]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from npcmeta.tasks.arena import expert, observe, personality, state, world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arenas", type=int, default=2048, help="arenas stepped together")
    parser.add_argument("--ticks", type=int, default=300, help="steps of each arena")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    place = state.reset(rng, options.arenas)
    characters = personality.personalities("train", options.arenas, seed=0)
    parts = dict.fromkeys(("mask", "observe", "noise", "expert", "step"), 0.0)
    began, cpu_began = time.perf_counter(), time.process_time()
    for _ in range(options.ticks):
        marks = [time.perf_counter()]
        mask = state.action_mask(place)
        marks.append(time.perf_counter())
        seen = observe.observe(place)
        marks.append(time.perf_counter())
        noise = expert.draw_noise(rng, options.arenas)
        marks.append(time.perf_counter())
        move, choice = expert.act(seen, mask, characters, noise)
        marks.append(time.perf_counter())
        place = world.step(place, move, choice)
        marks.append(time.perf_counter())
        for name, start, end in zip(parts, marks[:-1], marks[1:], strict=True):
            parts[name] += end - start
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    for name, spent in parts.items():
        print(f"{name:8s} {1000 * spent / options.ticks:6.2f} ms per tick of {options.arenas} arenas")
    steps = options.arenas * options.ticks
    print(f"{steps / seconds:,.0f} NPC-steps per second on one thread; {steps / cpu:,.0f} per second of processor time")


if __name__ == "__main__":
    main()
