"""Tracing the core's functions into ONNX: named tensors in, one self-contained file's bytes out."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Collection, Mapping

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

import npcmeta
from npcmeta import header, precision
from npcmeta.archetype import Archetype

OPSET = 15
IR_VERSION = 8
PRODUCER = "npcmeta"

Function = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""From named inputs to named outputs."""


def trace(
    function: Function,
    inputs: Mapping[str, Tensor],
    outputs: list[str],
    per_example: Collection[str] = (),
    fixed: Collection[str] = (),
) -> onnx.ModelProto:
    """Traces a function of named tensors into an ONNX model whose first axes are dynamic.

    Args:
        function: Computes the outputs from the inputs.
        inputs: Example inputs [N, ...], N of at least 2; their names become the graph's.
        outputs: Names of the outputs, in order.
        per_example: Inputs whose second axis, the examples of one task, is dynamic as well.
        fixed: Inputs whose shape is always the same.

    Raises:
        ValueError: If torch draws by default in another format than float32: constants would be of that.
    """
    precision.check_default("exporting")
    dynamic = [name for name in (*inputs, *outputs) if name not in fixed]
    axes = {name: {0: "n", 1: "s"} if name in per_example else {0: "n"} for name in dynamic}
    model = _traced(function, inputs, outputs, axes)
    _skip_multiplying_by_one(model)
    _keep_empty_axes(model)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = PRODUCER, npcmeta.__version__
    return model


def _traced(
    function: Function, inputs: Mapping[str, Tensor], outputs: list[str], axes: Mapping[str, dict[int, str]]
) -> onnx.ModelProto:
    """What torch's tracer makes of a function; `axes` names the dynamic axes of each input and output."""

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
            dynamic_axes=axes,
        )
    return onnx.load_from_string(buffer.getvalue())


def without_outputs(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """The same model without some outputs, and without what only they needed."""
    made = _copy(model)
    kept = [output for output in made.graph.output if output.name not in names]
    del made.graph.output[:]
    made.graph.output.extend(kept)
    _prune(made)
    return made


def with_input(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The same model, taking as an input what it computes as the output `name`."""
    made = without_outputs(model, [name])
    for node in made.graph.node:
        node.output[:] = ["" if output == name else output for output in node.output]
    made.graph.input.append(next(output for output in model.graph.output if output.name == name))
    _prune(made)
    return made


def with_values(model: onnx.ModelProto, values: Mapping[str, Tensor]) -> onnx.ModelProto:
    """The same model with some of its inputs set, as initializers of these names."""
    made = _copy(model)
    kept = [value for value in made.graph.input if value.name not in values]
    del made.graph.input[:]
    made.graph.input.extend(kept)
    made.graph.initializer.extend(numpy_helper.from_array(value.numpy(), name) for name, value in values.items())
    return made


def with_tensors(model: onnx.ModelProto, values: Mapping[str, Tensor]) -> onnx.ModelProto:
    """The same model with other values in some of its initializers."""
    made = _copy(model)
    for tensor in made.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name].numpy(), tensor.name))
    return made


def places(model: onnx.ModelProto, content: bytes, names: Collection[str]) -> dict[str, slice]:
    """Where in the bytes of a model the values of some of its initializers are."""
    found: dict[str, slice] = {}
    for tensor in model.graph.initializer:
        if tensor.name in names:
            whole = tensor.SerializeToString(deterministic=True)  # its name is in it: it stands in the file once
            end = content.index(whole) + len(whole)  # and its values come last
            found[tensor.name] = slice(end - len(tensor.raw_data), end)
    return found


def add_constants(model: onnx.ModelProto, constants: Mapping[str, np.ndarray]) -> None:
    """Adds outputs that are always the same: each the identity of a Constant node of its own."""
    for index, (name, value) in enumerate(constants.items()):
        tensor = numpy_helper.from_array(value, f"constant_{index}.value")
        model.graph.node.extend([
            onnx.helper.make_node("Constant", [], [f"constant_{index}"], f"/constant_{index}", value=tensor),
            onnx.helper.make_node("Identity", [f"constant_{index}"], [name], f"/constant_{index}/identity"),
        ])  # fmt: skip
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))


def checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, if it is a valid one; raises onnx's ValidationError or InferenceError if not."""
    onnx.checker.check_model(model, full_check=True)
    return model


def describe(model: onnx.ModelProto, archetype: Archetype, target: str) -> None:
    """Writes into the model what it is for and where it comes from."""
    facts = {
        "version": npcmeta.__version__,
        "target": target,
        "archetype": archetype.name,
        "archetype_revision": archetype.revision,
        "learner": archetype.learner_name,
        "spec": json.dumps(header.spec_to_json(archetype.spec), sort_keys=True),
    }
    add_facts(model, facts)


def add_facts(model: onnx.ModelProto, facts: Mapping[str, str]) -> None:
    """Adds to the metadata, under keys that begin with `npcmeta.`."""
    model.metadata_props.extend(
        onnx.StringStringEntryProto(key=f"npcmeta.{key}", value=value) for key, value in facts.items()
    )


def to_bytes(model: onnx.ModelProto) -> bytes:
    """The content of the model's file; the same model gives the same bytes."""
    return model.SerializeToString(deterministic=True)


def _skip_multiplying_by_one(model: onnx.ModelProto) -> None:
    """Leaves out what the tracer makes of the factors of `baddbmm`: runtimes would copy whole weights for it."""
    ones = {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Constant"
        and not node.attribute[0].t.dims
        and numpy_helper.to_array(node.attribute[0].t) == 1
    }
    outputs = {output.name for output in model.graph.output}
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        factors = [name for name in node.input if name not in ones]
        if node.op_type == "Mul" and len(factors) == 1 and node.output[0] not in outputs:
            renamed[node.output[0]] = factors[0]
    _prune(model)


def _keep_empty_axes(model: onnx.ModelProto) -> None:
    """Lets axes of size 0 (no examples, nobody in a frame) through Reshapes to computed shapes: 0 means "as it was"."""
    stored = {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}
    joined = {node.output[0]: node.input for node in model.graph.node if node.op_type == "Concat"}
    for node in model.graph.node:
        parts = joined.get(node.input[1], ()) if node.op_type == "Reshape" else ()
        known = [numpy_helper.to_array(stored[name]) for name in parts if name in stored]
        if parts and all((sizes >= 0).all() for sizes in known):  # with -1 it would be ambiguous
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("allowzero", 1))


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def _prune(model: onnx.ModelProto) -> None:
    """Leaves out nodes and initializers that no output needs."""
    needed, kept = {output.name for output in model.graph.output}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    values = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(values)
