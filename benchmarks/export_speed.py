"""Writing an adapted NPC's asset beside tracing the same policy with torch.onnx.export.

OMP_NUM_THREADS=1 python benchmarks/export_speed.py [--learners maml,bayes,cnp] [--repeats 15] [--crowd 20]
    [--json FILE]

Processor time of this thread, in turns, medians. "fill" is what a server does for an NPC: the state goes into the
template, and the file stays in memory, as that of torch.onnx.export does. "fill and write" also writes it to disk, at
once or not at all, under a name of its own, in a folder in the current one. Tracing is held against both. "and replace"
writes over an older file of that NPC, which some file systems (ext4) begin to flush at once. "verify" comes on top in
`npcmeta export --npc`: onnxruntime against torch with this NPC's state, on 1 and 257 rows. The policy has mixed actions
(two continuous, a branch of five) and hidden layers of 128 and 128. torch has two exporters; the quicker one
(TorchScript's) is the measure.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Generator

from npcmeta.archetype import Archetype, Npc, begin_npc
from npcmeta.files import write_bytes
from npcmeta.learners import settings_type
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_export import engine, graph
from npcmeta_export.engine import Engine, decide_together
from npcmeta_export.godot import GODOT
from npcmeta_export.mlagents import MLAGENTS
from npcmeta_export.ort import ORT
from npcmeta_export.sentis import SENTIS
from npcmeta_export.template import fill, make_template, verify

SPEC = BehaviorSpec(32, ActionSpec(2, (5,)), 10.0)
ENGINES = (ORT, MLAGENTS, SENTIS, GODOT)


def draft(learner: str) -> Archetype:
    """An untrained archetype with the learner's own settings."""
    settings = settings_type(learner)()
    meta = settings.build(SPEC).init(Generator().manual_seed(0))
    normaliser = Normaliser((0.0,) * 32, (1.0,) * 32)
    return Archetype("bench", "none", learner, settings, SPEC, normaliser, {}, {}, meta, "0" * 64)


def changed(archetype: Archetype) -> Npc:
    """An NPC that is not what it began as."""
    npc = begin_npc(archetype, "bob")
    return npc._replace(state={key: value + 0.01 for key, value in npc.state.items()}, examples=50)


def trace_alone(archetype: Archetype, npc: Npc, target: Engine) -> Callable[[], object]:
    """torch.onnx.export of the NPC's policy, its state folded in, and nothing else."""
    policy = engine.policy_of(archetype)
    acting = {key: npc.state[key] for key in policy.learner.acting}
    inputs = target.example(policy, 3, Generator().manual_seed(0))
    names = target.outputs(SPEC.action)

    class Traced(torch.nn.Module):
        def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            made = decide_together(policy, target, acting, dict(zip(inputs, values, strict=True)))
            return tuple(made[name] for name in names)

    def export() -> None:
        torch.onnx.export(
            Traced(), tuple(inputs.values()), io.BytesIO(), dynamo=False, opset_version=graph.OPSET,  # type: ignore[arg-type]
            input_names=list(inputs), output_names=names, dynamic_axes={name: {0: "n"} for name in (*inputs, *names)},
        )  # fmt: skip

    return export


def seconds(work: Callable[[], object], times: int) -> float:
    """Processor time of one of so many calls."""
    began = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - began) / times


def measure(learner: str, target: Engine, repeats: int, files: list[Path]) -> dict[str, object]:
    """Median milliseconds of each way, and how many times as long tracing takes as filling, and as writing too."""
    archetype = draft(learner)
    npc, template = changed(archetype), make_template(archetype, target)
    turns = itertools.cycle(files)
    ways = {
        "torch.onnx.export": trace_alone(archetype, npc, target),
        "fill": lambda: fill(template, npc),
        "fill and write": lambda: write_bytes(next(turns), fill(template, npc)),
        "and replace": lambda: write_bytes(next(turns), fill(template, npc)),
        "verify": lambda: verify(template, npc),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, work in ways.items():
            taken = seconds(work, 1 if name == "torch.onnx.export" else len(files))
            if turn:
                times[name].append(1e3 * taken)
        for file in files:
            file.unlink()
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {f"{name}, ratio": medians["torch.onnx.export"] / medians[name] for name in ("fill", "fill and write")}
    return {"learner": learner, "target": target.name, **medians, **ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", default="maml,bayes,cnp")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--crowd", type=int, default=20, help="how many NPCs are exported in a turn")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the tracer warns of its age
    rows = []
    with torch.no_grad(), TemporaryDirectory(dir=".") as folder:
        files = [Path(folder) / f"npc{number}.onnx" for number in range(options.crowd)]
        for learner in options.learners.split(","):
            for target in ENGINES:
                row = measure(learner, target, options.repeats, files)
                rows.append(row)
                print(*(f"{name} {value:.3g}" if isinstance(value, float) else value for name, value in row.items()))
    least = {name: min(float(row[name]) for row in rows) for name in rows[0] if name.endswith("ratio")}  # type: ignore[arg-type]
    print("least", *(f"{name} {value:.0f}" for name, value in least.items()), "the aim is 100")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "least": least}, indent=1))


if __name__ == "__main__":
    main()
