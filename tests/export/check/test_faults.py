"""Planted faults: each is found, named, and nothing else is said of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from npcmeta_export.check import CONTRACTS, check_file
from tests.export.check import files
from tests.export.check.files import adapt, simple
from tests.export.check.planting import (
    add_output,
    branch,
    circle,
    doubles,
    drop,
    duplicate,
    external,
    fix_batch,
    gather_far,
    heavy,
    insert_operator,
    long_payload,
    mask_as_bool,
    nine_dimensions,
    nine_dimensions_in_steps,
    no_state_outs,
    passed_to_a_sum,
    rename_input,
    rename_output,
    set_ir,
    set_opset,
    set_scalar,
    share_constant,
    short_payload,
    state_of_another_rank,
    state_of_another_width,
    third_axis,
    to_initializer,
    to_the_end,
    undefined,
    unknown_width,
    wrong_order,
)
from tests.export.check.planting_in_runs import (
    draw_actions,
    draw_the_likeliest,
    dropout_in_training,
    less_the_mean,
    mixed_rows,
    norm_in_training,
    not_a_number,
    one_row_inside,
    rows_as_steps,
    softmax_over_rows,
    wrong_width,
)

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
    "a state of another width": Fault("adapt", adapt, state_of_another_width, "lost-state", "error", "as [n, 3]"),
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
    [
        ("mlagents", files.mlagents),
        ("godot", files.godot),
        ("ort", simple),
        ("sentis", simple),
        ("adapt", adapt),
    ],
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
