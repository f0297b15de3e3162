"""The `ort` target: one NPC in one file, its state folded in."""

from __future__ import annotations

from pathlib import Path

import onnx
from torch import Generator, Tensor

from npcmeta.archetype import Archetype, Npc, build_learner
from npcmeta_export import graph, parity
from npcmeta_export.policy import TRACED_ROWS, decide_together, example_inputs, output_names


def export_npc(archetype: Archetype, npc: Npc, path: Path) -> Path:
    """Writes the graph of one NPC: inputs and outputs of the policy graph, without `state.*`.

    Raises:
        ParityError: If onnxruntime would not compute what torch does; nothing is written then.
    """
    return graph.write(npc_model(archetype, npc), path)


def npc_model(archetype: Archetype, npc: Npc) -> onnx.ModelProto:
    """The graph of one NPC, checked against torch."""
    acting = build_learner(archetype).acting
    state = {key: npc.state[key] for key in acting}

    def act(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return decide_together(archetype, state, inputs)

    def example(rows: int, generator: Generator) -> dict[str, Tensor]:
        return example_inputs(archetype, rows, generator)

    model = graph.trace(act, example(TRACED_ROWS, Generator().manual_seed(0)), output_names(archetype))
    more = {"npcmeta.npc": npc.name, "npcmeta.npc_examples": str(npc.examples)}
    graph.describe(model, archetype, "ort", more)
    parity.check(model.SerializeToString(), act, example, archetype.spec.action)
    return model
