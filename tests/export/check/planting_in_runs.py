"""Faults that show when a file runs: rows that mix, chance, numbers that are none."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.export.check import files
from tests.export.check.planting import rename_output


def one_row_inside(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 4], np.int64), "shape"))
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Reshape", ["raw", "shape"], ["head_params"]))


def mixed_rows(model: ModelProto) -> None:
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("ReduceMean", ["raw"], ["head_params"], axes=[0], keepdims=1))


def softmax_over_rows(model: ModelProto) -> None:
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Softmax", ["raw"], ["head_params"], axis=0))


def less_the_mean(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("ReduceMean", ["raw"], ["mean"], axes=[0], keepdims=1))
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Sub", ["raw", "mean"], ["head_params"]))


def rows_as_steps(model: ModelProto) -> None:
    """The first row is right: only later ones hear of it."""
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "rows"))
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("CumSum", ["raw", "rows"], ["head_params"]))


def norm_in_training(model: ModelProto) -> None:
    for name, number in (("scale", 1), ("shift", 0), ("mean", 0), ("var", 1)):
        model.graph.initializer.append(numpy_helper.from_array(np.full(4, number, np.float32), name))
    model.graph.node[0].output[0] = "raw"
    inputs, outputs = ["raw", "scale", "shift", "mean", "var"], ["head_params", "new_mean", "new_var"]
    model.graph.node.append(helper.make_node("BatchNormalization", inputs, outputs, training_mode=1))


def dropout_in_training(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "ratio"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "training"))
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Dropout", ["raw", "ratio", "training"], ["head_params"]))


def draw_the_likeliest(model: ModelProto) -> None:
    files.node_named(model, "likeliest").input[0] = "drawn_choices"
    draw = helper.make_node("RandomUniformLike", ["branch_0"], ["random"], high=99.0)
    cut = helper.make_node("Slice", ["random", "zero", "two", "one"], ["two_random"])
    cast = helper.make_node("Cast", ["two_random"], ["drawn_choices"], to=TensorProto.INT64)
    at = next(i for i, node in enumerate(model.graph.node) if node.name == "likeliest")
    for node in (cast, cut, draw):
        model.graph.node.insert(at, node)


def draw_actions(model: ModelProto) -> None:
    rename_output("head_params", "discrete_actions")(model)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("RandomUniformLike", ["raw"], ["random"], high=3.0))
    model.graph.node.append(helper.make_node("Cast", ["random"], ["discrete_actions"], to=TensorProto.INT64))


def not_a_number(model: ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((7, 4), np.nan, np.float32), "w"))


def wrong_width(model: ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(files.weight("w", 8, 4))
