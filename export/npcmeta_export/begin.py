"""The begin graph: states of unadapted NPCs, for games that adapt characters themselves."""

from __future__ import annotations

import onnx
import torch
from torch import Generator, Tensor

from npcmeta.archetype import Archetype, build_learner
from npcmeta_export import graph, parity
from npcmeta_export.operators import SENTIS_2_1
from npcmeta_export.runtime import load_session

TRACED_ROWS = 3
TOLERANCE = 1e-6


def begin_model(archetype: Archetype) -> onnx.ModelProto:
    """The begin graph of an archetype, checked against torch.

    Input: `noise` [n, Z] float32, a row of standard normal numbers for each NPC; a learner that draws nothing has
    one column, which changes nothing. Outputs: `state.<key>` [n, ...] for every key of the learner's state.

    Raises:
        ParityError: If onnxruntime would not compute what torch does.
    """
    learner = build_learner(archetype)
    keys = (*learner.acting, *learner.memory)

    def begin(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        noise = inputs["noise"]
        drawn = noise[:, : learner.noise_size]
        # What draws nothing begins once, for all rows.
        begun = learner.begin(archetype.meta, noise.shape[0] if learner.noise_size else 1, drawn)
        rows = 0.0 * noise[:, 0]  # a state that the noise does not change has a row for each NPC all the same
        return {f"state.{key}": begun[key] + rows.reshape(-1, *[1] * (begun[key].dim() - 1)) for key in keys}

    model = graph.checked(graph.trace(begin, _example(archetype, TRACED_ROWS), [f"state.{key}" for key in keys]))
    foreign = sorted({node.op_type for node in model.graph.node} - SENTIS_2_1)
    assert not foreign, f"begin is traced into operators that engines do not have: {foreign}"
    graph.checked(model)
    graph.describe(model, archetype, "begin")
    graph.add_facts(model, {"source_digest": archetype.revision})
    session = load_session(graph.to_bytes(model))
    for rows in parity.BATCHES:
        inputs = _example(archetype, rows)
        with torch.no_grad():
            expected = {name: value.numpy() for name, value in begin(inputs).items()}
        parity.compare_numbers(parity.run(session, inputs), expected, rows, TOLERANCE)
    return model


def _example(archetype: Archetype, rows: int) -> dict[str, Tensor]:
    size = max(1, build_learner(archetype).noise_size)
    return {"noise": torch.randn(rows, size, generator=Generator().manual_seed(rows))}
