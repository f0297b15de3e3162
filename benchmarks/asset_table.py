"""Which learner can be exported to which target, for which kinds of actions: every combination is exported and run.

OMP_NUM_THREADS=1 python benchmarks/asset_table.py --out DIR [--learners bayes,maml] [--write-docs docs/assets.md]

Each combination is an untrained archetype with small layers. `export` compares the graph with torch before it writes
it; here the file is then held against its engine's contract (`npcmeta check`), loaded and run. An interrupted run goes
on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Generator

from npcmeta.archetype import Archetype, begin_npc
from npcmeta.learners import LEARNERS
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_export import TARGETS, export, load_session
from npcmeta_export.check import check_file
from npcmeta_server.report import generated

KINDS = {"continuous": ActionSpec(2, ()), "discrete": ActionSpec(0, (3, 2)), "mixed": ActionSpec(2, (3, 2))}
VARIANTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "bayes, with a context": ("bayes", {"context": 4, "inner_steps": 3}),
    "maml, with added inputs": ("maml", {"added_inputs": 2}),
}
"""Learners that are two in one, by settings."""
SMALL = {"hidden": (16,), "encoder": (16,), "code": 8, "latent": 4, "directions": 4, "embedding": 8, "capacity": 40}
FOR_ALL = ("mlagents", "sentis")
"""Targets that without an NPC are for all of them; both files are made."""
OBSERVATION = 5
PRECISE = "*"
COMMAND = "benchmarks/asset_table.py"

Row = dict[str, dict[str, str]]
"""Target -> kind -> how it went: "yes", "float64", or why not."""


def archetype_of(learner: str, kind: str) -> Archetype:
    """An untrained archetype; raises ValueError if the learner cannot decide actions of this kind."""
    name, changes = VARIANTS.get(learner, (learner, {}))
    plain = LEARNERS[name]()
    fields = {field.name for field in dataclasses.fields(plain)}  # type: ignore[arg-type]
    small = {key: value for key, value in SMALL.items() if key in fields}
    settings = dataclasses.replace(plain, **small | dict(changes))  # type: ignore[type-var, arg-type]
    spec = BehaviorSpec(OBSERVATION, KINDS[kind], 10.0)
    meta = settings.build(spec).init(Generator().manual_seed(0))
    normaliser = Normaliser((0.0,) * OBSERVATION, (1.0,) * OBSERVATION)
    return Archetype("guard", "none", name, settings, spec, normaliser, {}, {}, meta, "0" * 64)


def row_of(learner: str, folder: Path) -> Row:
    """How the exports of one learner went."""
    row: Row = {target: {} for target in TARGETS}
    for kind in KINDS:
        try:
            archetype = archetype_of(learner, kind)
        except ValueError as error:
            for target in TARGETS:
                row[target][kind] = str(error)
            continue
        for target in TARGETS:
            row[target][kind] = outcome(archetype, target, folder)
    return row


def outcome(archetype: Archetype, target: str, folder: Path) -> str:
    """Exports and runs a target's files; says how that went."""
    npcs = [begin_npc(archetype, "bob"), *([None] if target in FOR_ALL else [])]
    try:
        models = [run(export(archetype, target, folder, npc)[0], target) for npc in npcs]
    except (ValueError, RuntimeError) as error:
        return str(error).strip().splitlines()[0]
    facts = {entry.key: entry.value for entry in models[0].metadata_props}
    return "float64" if facts.get("npcmeta.arithmetic") == "float64" else "yes"


def run(file: Path, target: str) -> onnx.ModelProto:
    """Holds a file against its target's contract and runs it; raises ValueError where it is not what engines accept."""
    findings = [entry.found for entry in check_file(file, target, run=False).findings if entry.severity == "error"]
    if findings:
        raise ValueError(f"npcmeta check: {findings[0]}")
    model, session = onnx.load(file), load_session(file)
    for found in session.run(None, {value.name: ones(value) for value in model.graph.input}):
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise ValueError(f"{file.name} puts out numbers that are not finite")
    return model


def ones(value: onnx.ValueInfoProto) -> np.ndarray:
    """A value for an input, with 2 for each dynamic axis."""
    kind = value.type.tensor_type
    shape = [2 if axis.dim_param else axis.dim_value for axis in kind.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return np.zeros(shape, dtype) if kind.elem_type == TensorProto.INT64 else np.ones(shape, dtype)


def cell(found: Mapping[str, str]) -> str:
    """The kinds of actions that can be, a star on those whose inner loop needs float64."""
    shown = [kind + PRECISE * (how == "float64") for kind, how in found.items() if how in ("yes", "float64")]
    if len(shown) == len(KINDS) and len({how == "float64" for how in found.values()}) == 1:
        return "all" + PRECISE * shown[0].endswith(PRECISE)
    return ", ".join(shown) or "-"


def markdown(rows: Mapping[str, Row]) -> str:
    """The table, and below it why a combination is missing."""
    lines = [["learner", *(f"`{target}`" for target in TARGETS)], ["---"] * (1 + len(TARGETS))]
    lines += [[name, *(cell(row[target]) for target in TARGETS)] for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n" + "\n".join(notes(rows))


def notes(rows: Mapping[str, Row]) -> Iterator[str]:
    """Why a combination is missing; once for all of a learner's that have the same reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, row in rows.items():
        for target, found in row.items():
            for kind, how in found.items():
                if how not in ("yes", "float64"):
                    reasons.setdefault((name, how), []).append(f"{target}/{kind}")
    for (name, reason), where in reasons.items():
        targets = dict.fromkeys(each.partition("/")[0] for each in where)
        kinds = dict.fromkeys(each.partition("/")[2] for each in where)
        scope = [", ".join(names) for names, every in ((targets, TARGETS), (kinds, KINDS)) if len(names) < len(every)]
        yield f"- {name}, {'; '.join(scope)}: {reason}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results and files")
    parser.add_argument("--learners", default=";".join((*LEARNERS, *VARIANTS)), help="separated by semicolons")
    parser.add_argument("--write-docs", type=Path, metavar="PAGE", help="page whose generated part is replaced")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.write_docs:
        generated.around(options.write_docs, COMMAND)  # better now than after the work
    options.out.mkdir(parents=True, exist_ok=True)
    rows = {}
    for name in options.learners.split(";"):
        kept = options.out / f"{name}.json"
        if not kept.exists():
            found = row_of(name, options.out / "assets")
            kept.write_text(json.dumps(found, indent=1))
        rows[name] = json.loads(kept.read_text())
        print(name, *(f"{target}: {cell(found)}" for target, found in rows[name].items()), sep="  ", flush=True)
    if options.write_docs:
        generated.write(options.write_docs, COMMAND, markdown(rows))


if __name__ == "__main__":
    main()
