"""ONNX files to check: one that ML-Agents takes, one that Godot takes, and what changes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from npcmeta_export.check import Report

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def constant(name: str, numbers: object) -> list[onnx.NodeProto]:
    """A Constant of its own and an Identity behind it."""
    value = numpy_helper.from_array(np.asarray(numbers, np.float32), f"{name}_value")
    return [
        helper.make_node("Constant", [], [f"{name}_constant"], name=f"{name}_constant", value=value),
        helper.make_node("Identity", [f"{name}_constant"], [name], name=name),
    ]


def weight(name: str, *shape: int) -> TensorProto:
    numbers = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(numbers, name)


def as_model(graph: onnx.GraphProto, opset: int = 15, ir: int = 8) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def mlagents() -> onnx.ModelProto:
    """Two continuous actions and branches of three and two choices, seven observations."""
    nodes = [
        helper.make_node("Gemm", ["obs_0", "w", "b"], ["hidden"], name="layer"),
        helper.make_node("Slice", ["hidden", "zero", "two", "one"], ["mean"], name="mean"),
        helper.make_node("Clip", ["mean", "low", "high"], ["deterministic_continuous_actions"], name="clip"),
        helper.make_node("RandomNormalLike", ["mean"], ["noise"], name="noise"),
        helper.make_node("Add", ["deterministic_continuous_actions", "noise"], ["continuous_actions"], name="drawn"),
        helper.make_node("Slice", ["hidden", "two", "seven", "one"], ["logits"], name="logits"),
        helper.make_node("Add", ["logits", "action_masks"], ["allowed"], name="allowed"),
        helper.make_node("Slice", ["allowed", "zero", "three", "one"], ["branch_0"], name="branch_0"),
        helper.make_node("Slice", ["allowed", "three", "five", "one"], ["branch_1"], name="branch_1"),
        helper.make_node("ArgMax", ["branch_0"], ["choice_0"], axis=1, name="choice_0"),
        helper.make_node("ArgMax", ["branch_1"], ["choice_1"], axis=1, name="choice_1"),
        helper.make_node("Concat", ["choice_0", "choice_1"], ["discrete_actions"], axis=1, name="choices"),
        helper.make_node("Identity", ["discrete_actions"], ["deterministic_discrete_actions"], name="likeliest"),
        *constant("version_number", [3]),
        *constant("memory_size", [0]),
        *constant("continuous_action_output_shape", [2]),
        *constant("discrete_action_output_shape", [[3, 2]]),
    ]
    numbers = {"zero": 0, "one": 1, "two": 2, "three": 3, "five": 5, "seven": 7}
    tensors = [weight("w", 7, 7), weight("b", 7)]
    tensors += [numpy_helper.from_array(np.array([number], np.int64), name) for name, number in numbers.items()]
    tensors += [numpy_helper.from_array(np.float32(x), name) for name, x in (("low", -1), ("high", 1))]
    outputs = [
        value("version_number", FLOAT, 1), value("memory_size", FLOAT, 1),
        value("continuous_actions", FLOAT, "n", 2), value("continuous_action_output_shape", FLOAT, 1),
        value("deterministic_continuous_actions", FLOAT, "n", 2), value("discrete_actions", INT64, "n", 2),
        value("discrete_action_output_shape", FLOAT, 1, 2), value("deterministic_discrete_actions", INT64, "n", 2),
    ]  # fmt: skip
    inputs = [value("obs_0", FLOAT, "n", 7), value("action_masks", FLOAT, "n", 5)]
    return as_model(helper.make_graph(nodes, "policy", inputs, outputs, tensors))


def godot(opset: int = 17) -> onnx.ModelProto:
    """What Godot RL Agents' own exporter makes of a policy of stable-baselines3."""
    nodes = [
        helper.make_node("Gemm", ["obs", "w", "b"], ["output"]),
        helper.make_node("Identity", ["state_ins"], ["state_outs"]),
    ]
    return as_model(helper.make_graph(
        nodes, "torch_jit", [value("obs", FLOAT, "batch", 7), value("state_ins", FLOAT, "batch")],
        [value("output", FLOAT, "batch", 4), value("state_outs", FLOAT, "batch")], [weight("w", 7, 4), weight("b", 4)],
    ), opset)  # fmt: skip


def plain(*nodes: onnx.NodeProto, tensors: tuple[TensorProto, ...] = (), shape: tuple = ("n", 4)) -> onnx.ModelProto:
    """A graph from "observation" to "head_params", as an onnxruntime user might make it."""
    return as_model(helper.make_graph(
        list(nodes), "net", [value("observation", FLOAT, "n", 7)], [value("head_params", FLOAT, *shape)],
        [weight("w", 7, 4), *tensors],
    ))  # fmt: skip


def layer(output: str = "head_params") -> onnx.NodeProto:
    return helper.make_node("MatMul", ["observation", "w"], [output], name="layer")


def node_named(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def output_named(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    return next(entry for entry in model.graph.output if entry.name == name)


def save(model: onnx.ModelProto, folder: Path, change: Callable[[onnx.ModelProto], object] | None = None) -> Path:
    """Writes the model, changed or as it is, without any check."""
    if change is not None:
        change(model)
    path = folder / "guard.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def simple() -> onnx.ModelProto:
    return plain(layer())


def adapt() -> onnx.ModelProto:
    """An adapt graph that leaves the state as it is."""
    shapes: dict[str, tuple[int | str, ...]] = {"observation": ("n", "s", 7), "weight": ("n", "s"), "state.a": ("n", 2)}
    inputs = [value(name, TensorProto.FLOAT, *shape) for name, shape in shapes.items()]
    outputs = [value("adapted.a", TensorProto.FLOAT, "n", 2)]
    nodes = [helper.make_node("Identity", ["state.a"], ["adapted.a"])]
    return as_model(helper.make_graph(nodes, "adapt", inputs, outputs))


def write(folder: Path, content: bytes) -> Path:
    path = folder / "guard.onnx"
    path.write_bytes(content)
    return path


def only(report: Report) -> str:
    assert [finding.code for finding in report.findings] == ["unreadable"]
    return report.findings[0].found
