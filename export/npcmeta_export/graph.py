"""Tracing the core's functions into ONNX: named tensors in, one self-contained file's bytes out."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor

import npcmeta
from npcmeta import header
from npcmeta.archetype import Archetype

OPSET = 15
IR_VERSION = 8
PRODUCER = "npcmeta"

Function = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""From named inputs to named outputs."""


def trace(
    function: Function, inputs: Mapping[str, Tensor], outputs: list[str], per_example: tuple[str, ...] = ()
) -> onnx.ModelProto:
    """Traces a function of named tensors into a checked ONNX model whose first axes are all dynamic.

    Args:
        function: Computes the outputs from the inputs.
        inputs: Example inputs [N, ...], N of at least 2; their names become the graph's.
        outputs: Names of the outputs, in order.
        per_example: Inputs whose second axis, the examples of one task, is dynamic as well.
    """

    class Traced(torch.nn.Module):
        def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
            computed = function(dict(zip(inputs, values, strict=True)))
            return tuple(computed[name] for name in outputs)

    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns of its age and of constants that are meant to be constant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Traced(),
            tuple(inputs.values()),
            buffer,  # type: ignore[arg-type]  # a file object is taken by this exporter
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={name: {0: "n", 1: "s"} if name in per_example else {0: "n"} for name in [*inputs, *outputs]},
        )
    model = onnx.load_from_string(buffer.getvalue())
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = PRODUCER, npcmeta.__version__
    onnx.checker.check_model(model, full_check=True)
    return model


def describe(model: onnx.ModelProto, archetype: Archetype, target: str, more: Mapping[str, str]) -> None:
    """Writes into the model where it comes from."""
    facts = {
        "npcmeta.version": npcmeta.__version__,
        "npcmeta.target": target,
        "npcmeta.archetype": archetype.name,
        "npcmeta.archetype_revision": archetype.revision,
        "npcmeta.learner": archetype.learner_name,
        "npcmeta.spec": json.dumps(header.spec_to_json(archetype.spec), sort_keys=True),
    }
    onnx.helper.set_model_props(model, facts | dict(more))


def write(model: onnx.ModelProto, path: Path) -> Path:
    """Writes the model at once or not at all; the same model gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(model.SerializeToString(deterministic=True))
    os.replace(partial, path)
    return path
