"""Faults in what a file says: names, shapes, types, operators, weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.export.check import files

BIG = 3_000_000_000


def rename_output(old: str, new: str) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        files.output_named(model, old).name = new
        for node in model.graph.node:
            node.output[:] = [new if name == old else name for name in node.output]

    return change


def add_output(name: str, source: str, *shape: int | str) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        model.graph.node.append(helper.make_node("Identity", [source], [name], name=name))
        model.graph.output.append(files.value(name, TensorProto.FLOAT, *shape))

    return change


def share_constant(model: ModelProto) -> None:
    files.node_named(model, "continuous_action_output_shape").input[0] = "version_number_constant"
    files.node_named(model, "version_number_constant").attribute[0].t.CopyFrom(
        numpy_helper.from_array(np.array([3], np.float32))
    )
    model.graph.node.remove(files.node_named(model, "continuous_action_output_shape_constant"))


def to_initializer(model: ModelProto) -> None:
    for name in ("memory_size", "memory_size_constant"):
        model.graph.node.remove(files.node_named(model, name))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "memory_size"))


def set_scalar(name: str, numbers: object, kind: type = np.float32) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        tensor = numpy_helper.from_array(np.asarray(numbers, kind))
        files.node_named(model, f"{name}_constant").attribute[0].t.CopyFrom(tensor)
        files.output_named(model, name).type.tensor_type.elem_type = tensor.data_type

    return change


def fix_batch(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def rename_input(model: ModelProto) -> None:
    model.graph.input[0].name = "vector_observation"
    files.node_named(model, "layer").input[0] = "vector_observation"


def mask_as_bool(model: ModelProto) -> None:
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.BOOL
    allowed = files.node_named(model, "allowed")
    cast = helper.make_node("Cast", ["action_masks"], ["as_float"], to=TensorProto.FLOAT)
    allowed.input[1] = "as_float"
    model.graph.node.insert(0, cast)


def drop(name: str) -> Callable[[ModelProto], None]:
    return lambda model: model.graph.output.remove(files.output_named(model, name))


def set_opset(version: int) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def set_ir(model: ModelProto) -> None:
    model.ir_version = 10


def insert_operator(operator: str, domain: str = "") -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        node = helper.make_node(operator, ["raw"], ["head_params"], domain=domain)
        model.graph.node[0].output[0] = "raw"
        model.graph.node.append(node)
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def external(location: str) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def gather_far(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([BIG], np.int64), "far"))
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Cast", ["far"], ["as_float"], to=TensorProto.FLOAT))
    model.graph.node.append(helper.make_node("Mul", ["raw", "as_float"], ["head_params"]))


def to_the_end(model: ModelProto) -> None:
    for name, number in (("start", 0), ("end", np.iinfo(np.int64).max), ("axis", 1)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([number], np.int64), name))
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Slice", ["raw", "start", "end", "axis"], ["head_params"]))


def nine_dimensions(model: ModelProto) -> None:
    shape = numpy_helper.from_array(np.array([-1, 1, 1, 1, 1, 1, 1, 2, 2], np.int64), "nine")
    back = numpy_helper.from_array(np.array([-1, 4], np.int64), "back")
    model.graph.initializer.extend([shape, back])
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Reshape", ["raw", "nine"], ["deep"]))
    model.graph.node.append(helper.make_node("Reshape", ["deep", "back"], ["head_params"]))


def nine_dimensions_in_steps(model: ModelProto) -> None:
    axes = numpy_helper.from_array(np.arange(2, 9, dtype=np.int64), "axes")
    model.graph.initializer.append(axes)
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Unsqueeze", ["raw", "axes"], ["deep"]))
    model.graph.node.append(helper.make_node("Squeeze", ["deep", "axes"], ["head_params"]))


def duplicate(model: ModelProto) -> None:
    model.graph.node.append(model.graph.node[0])


def circle(model: ModelProto) -> None:
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Add", ["raw", "back"], ["ahead"], name="ahead"))
    model.graph.node.append(helper.make_node("Tanh", ["ahead"], ["back"], name="back"))
    model.graph.node.append(helper.make_node("Identity", ["back"], ["head_params"], name="last"))


def wrong_order(model: ModelProto) -> None:
    model.graph.node[0].output[0] = "raw"
    model.graph.node.insert(0, helper.make_node("Tanh", ["raw"], ["head_params"]))


def undefined(model: ModelProto) -> None:
    model.graph.node[0].input[1] = "lost"


def branch(model: ModelProto) -> None:
    parts = [
        helper.make_graph([helper.make_node(op, ["raw"], [op])], op, [], [files.value(op, TensorProto.FLOAT, "n", 4)])
        for op in ("Tanh", "Sigmoid")
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node[0].output[0] = "raw"
    node = helper.make_node("If", ["yes"], ["head_params"], then_branch=parts[0], else_branch=parts[1])
    model.graph.node.append(node)


def heavy(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((17, 1 << 20), np.float32), "much"))


def short_payload(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 9


def long_payload(model: ModelProto) -> None:
    tensor = TensorProto(name="many", data_type=TensorProto.INT64, dims=[1], int64_data=[1] * 100)
    model.graph.initializer.append(tensor)


def passed_to_a_sum(model: ModelProto) -> None:
    """The number ends a slice and is added to what it cuts."""
    to_the_end(model)
    model.graph.node[1].output[0] = "cut"
    model.graph.node.append(helper.make_node("Identity", ["end"], ["same"]))
    model.graph.node.append(helper.make_node("Cast", ["same"], ["as_float"], to=TensorProto.FLOAT))
    model.graph.node.append(helper.make_node("Add", ["cut", "as_float"], ["head_params"]))


def third_axis(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "axis"))
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Unsqueeze", ["raw", "axis"], ["head_params"]))
    model.graph.output[0].CopyFrom(files.value("head_params", TensorProto.FLOAT, "n", 4, 1))


def state_of_another_width(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3


def state_of_another_rank(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "axis"))
    node = helper.make_node("Unsqueeze", ["state.a", "axis"], ["adapted.a"])
    model.graph.node[0].CopyFrom(node)
    model.graph.output[0].CopyFrom(files.value("adapted.a", TensorProto.FLOAT, "n", 2, 1))


def unknown_width(model: ModelProto) -> None:
    """Ten numbers, as only the Reshape in front of the weights knows."""
    shape = numpy_helper.from_array(np.array([-1, 10], np.int64), "shape")
    model.graph.initializer.append(shape)
    files.node_named(model, "layer").input[0] = "rows"
    model.graph.initializer[0].CopyFrom(files.weight("w", 10, 4))
    model.graph.node.insert(0, helper.make_node("Reshape", ["observation", "shape"], ["rows"]))
    model.graph.input[0].CopyFrom(files.value("observation", TensorProto.FLOAT, "n", "w"))


def doubles(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3), "exact"))


def no_state_outs(model: ModelProto) -> None:
    model.graph.node.pop()
    model.graph.output.pop()
