"""Planted faults: each is found, named, and nothing else is said of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from npcmeta_export.check import CONTRACTS, check_file
from tests.export.check import files

BIG = 3_000_000_000
TRIED = ("does-not-load", "does-not-run", "rows", "not-finite", "rows-influence-each-other", "draws-at-random",
         "unknown-width")  # fmt: skip
"""Faults that only a run shows."""


class Fault(NamedTuple):
    """What is done to a good file, and what has to be said of it."""

    target: str
    make: Callable[[], ModelProto]
    change: Callable[[ModelProto], object]
    code: str
    severity: str
    says: str
    also: tuple[str, ...] = ()  # what follows from it


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


def simple() -> ModelProto:
    return files.plain(files.layer())


def adapt() -> ModelProto:
    """An adapt graph that leaves the state as it is."""
    shapes: dict[str, tuple[int | str, ...]] = {"observation": ("n", "s", 7), "weight": ("n", "s"), "state.a": ("n", 2)}
    inputs = [files.value(name, TensorProto.FLOAT, *shape) for name, shape in shapes.items()]
    outputs = [files.value("adapted.a", TensorProto.FLOAT, "n", 2)]
    nodes = [helper.make_node("Identity", ["state.a"], ["adapted.a"])]
    return files.as_model(helper.make_graph(nodes, "adapt", inputs, outputs))


def no_state_outs(model: ModelProto) -> None:
    model.graph.node.pop()
    model.graph.output.pop()


FAULTS = {
    "a renamed constant output": Fault("mlagents", files.mlagents,
        rename_output("continuous_action_output_shape", "45"), "missing-output", "error", 'renamed constants to "45"'),
    "no version": Fault("mlagents", files.mlagents, drop("version_number"), "missing-output", "error",
        "version_number"),
    "a look-alike": Fault("mlagents", files.mlagents, add_output("raw_continuous_actions_mean", "mean", "n", 2),
        "look-alike", "error", "by substring"),
    "a shared constant": Fault("mlagents", files.mlagents, share_constant, "shared-constant", "error",
        "Graph output does not exist", ("sizes",)),
    "a bare stored tensor": Fault("mlagents", files.mlagents, to_initializer, "bare-output", "error", '"memory_size"'),
    "an integer scalar": Fault("mlagents", files.mlagents, set_scalar("memory_size", [0], np.int64), "output-type",
        "error", "is int64, expected float"),
    "an old version": Fault("mlagents", files.mlagents, set_scalar("version_number", [2]), "version", "error", "is 2"),
    "sizes that do not fit": Fault("mlagents", files.mlagents, set_scalar("discrete_action_output_shape", [[3, 3]]),
        "sizes", "error", '"action_masks" has 5'),
    "memory without its tensors": Fault("mlagents", files.mlagents, set_scalar("memory_size", [16]), "memory", "error",
        '"recurrent_in"'),
    "one row only": Fault("mlagents", files.mlagents, fix_batch, "fixed-batch", "error", "exactly 1 row"),
    "an unknown input": Fault("mlagents", files.mlagents, rename_input, "unexpected-input", "error",
        '"vector_observation"', ("missing-input",)),
    "a mask of bools": Fault("mlagents", files.mlagents, mask_as_bool, "input-type", "error",
        "is bool, expected float"),
    "no deterministic actions": Fault("mlagents", files.mlagents, drop("deterministic_discrete_actions"),
        "missing-output", "warning", "Deterministic Inference"),
    "a newer opset": Fault("sentis", simple, set_opset(17), "opset", "error", "opset 17"),
    "an opset of later releases": Fault("ort", simple, set_opset(23), "opset", "warning", "older releases"),
    "another rank": Fault("ort", simple, third_axis, "output-shape", "warning", "expected [n, P]"),
    "a state of another rank": Fault("adapt", adapt, state_of_another_rank, "lost-state", "error", "comes out as"),
    "a long payload": Fault("ort", simple, long_payload, "damaged-tensor", "error", "8 bytes, and holds 100"),
    "an end that is added as well": Fault("sentis", simple, passed_to_a_sum, "narrowing", "error", '"end"'),
    "a width that nothing tells": Fault("ort", simple, unknown_width, "unknown-width", "warning", '"observation"'),
    "a newer format": Fault("sentis", simple, set_ir, "ir-version", "warning", "IR version 10"),
    "an operator it lacks": Fault("sentis", simple, insert_operator("Det"), "operator", "error", '"Det"'),
    "an operator from nowhere": Fault("ort", simple, insert_operator("Tahn"), "operator", "error", '"Tahn"'),
    "an operator of one runtime": Fault("sentis", simple, insert_operator("FusedMatMul", "com.microsoft"),
        "foreign-operator", "error", '"com.microsoft"'),
    "a branch": Fault("sentis", simple, branch, "operator", "error", '"If"'),
    "weights in a second file": Fault("sentis", simple, external("guard.onnx.data"), "second-file", "error",
        '"guard.onnx.data"'),
    "integers beyond 32 bits": Fault("sentis", simple, gather_far, "narrowing", "error", '"far"'),
    "float64": Fault("sentis", simple, doubles, "narrowing", "warning", '"exact"'),
    "nine dimensions": Fault("sentis", simple, nine_dimensions, "dimensions", "error", '"deep"'),
    "nine dimensions, bit by bit": Fault("sentis", simple, nine_dimensions_in_steps, "dimensions", "error", '"deep"'),
    "one name for two": Fault("ort", simple, duplicate, "duplicate-name", "error", '"head_params"'),
    "a circle": Fault("ort", simple, circle, "cycle", "error", '"ahead", "back", "last"'),
    "a wrong order": Fault("ort", simple, wrong_order, "not-sorted", "error", "stands before"),
    "a lost weight": Fault("ort", simple, undefined, "undefined-value", "error", '"lost"'),
    "heavy weights": Fault("ort", simple, heavy, "heavy", "warning", "68 MiB"),
    "a short payload": Fault("ort", simple, short_payload, "damaged-tensor", "error", "144 bytes, and holds 112"),
    "rows fixed inside": Fault("ort", simple, one_row_inside, "does-not-run", "error", "3 rows, though not"),
    "rows that mix": Fault("sentis", simple, mixed_rows, "rows", "error", "has 1 rows for 3 characters"),
    "a softmax over rows": Fault("ort", simple, softmax_over_rows, "rows-influence-each-other", "error",
        "is another one when others run beside it"),
    "a mean over rows": Fault("sentis", simple, less_the_mean, "rows-influence-each-other", "error", '"head_params"'),
    "rows for steps": Fault("ort", simple, rows_as_steps, "rows-influence-each-other", "error", '"head_params"'),
    "a norm in training": Fault("ort", simple, norm_in_training, "draws-at-random", "error",
        "BatchNormalization learns"),
    "a dropout in training": Fault("ort", simple, dropout_in_training, "draws-at-random", "error", "module.eval()"),
    "a drawn likeliest action": Fault("mlagents", files.mlagents, draw_the_likeliest, "draws-at-random", "error",
        'output "deterministic_discrete_actions" differs'),
    "weights that are NaN": Fault("ort", simple, not_a_number, "not-finite", "warning", '"head_params"'),
    "weights of another size": Fault("ort", simple, wrong_width, "does-not-load", "error", "refuses the file"),
    "Godot's state left out": Fault("godot", files.godot, no_state_outs, "missing-output", "error", '"state_outs"'),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    run = fault.code in TRIED or "bit by bit" in name
    report = check_file(files.save(fault.make(), tmp_path, fault.change), fault.target, run=run)
    assert {finding.code for finding in report.findings} == {fault.code, *fault.also}
    finding = next(finding for finding in report.findings if fault.says in " ".join(finding))
    assert finding.severity == fault.severity
    assert report.ok == (fault.severity == "warning")
    assert finding.consequence
    assert finding.remedy


@pytest.mark.parametrize(
    ("target", "model"),
    [("mlagents", files.mlagents), ("godot", files.godot), ("ort", simple), ("sentis", simple), ("adapt", adapt)],
)
def test_good_files_pass_without_a_word(tmp_path: Path, target: str, model: Callable[[], ModelProto]) -> None:
    onnx.checker.check_model(model(), full_check=True)
    assert check_file(files.save(model(), tmp_path), target).findings == ()


def test_slicing_to_the_end_survives_int32(tmp_path: Path) -> None:
    assert check_file(files.save(simple(), tmp_path, to_the_end), "sentis").findings == ()


def test_actions_may_be_drawn_inside(tmp_path: Path) -> None:
    assert check_file(files.save(simple(), tmp_path, draw_actions), "sentis").findings == ()


def test_what_one_engine_refuses_another_takes(tmp_path: Path) -> None:
    path = files.save(simple(), tmp_path, branch)
    assert check_file(path, "ort").findings == ()
    assert [finding.code for finding in check_file(path, "sentis").findings] == ["operator"]


def test_an_unknown_target_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"expected one of: {', '.join(CONTRACTS)}"):
        check_file(files.save(simple(), tmp_path), "gltf")
