"""Files made to do harm: a finding that names the cause, soon, and without eating memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from npcmeta_export import check
from npcmeta_export.check import check_file, trial, wire
from tests.export.check import files

pytestmark = pytest.mark.timeout(200)
GIGABYTE = 1 << 30
MEMORY = 200 << 20
"""By how much the process may grow while one file is checked."""


@contextmanager
def little_memory() -> Iterator[None]:
    before = most_memory()
    yield
    assert most_memory() - before < MEMORY


def most_memory() -> int:
    """Bytes that this process has held at most; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def sparse_gigabyte(folder: Path) -> Path:
    """A gigabyte of zeros as the weights of one tensor, which takes no room on the disk."""
    tensor = varint(1 << 3) + varint(GIGABYTE // 4) + varint(2 << 3) + varint(1) + field(8, b"w")
    head = varint(9 << 3 | 2) + varint(GIGABYTE)
    graph = field(1, field(1, b"w") + field(2, b"y") + field(4, b"Tanh")) + field(12, field(1, b"y"))
    size = len(tensor) + len(head) + GIGABYTE
    graph += varint(5 << 3 | 2) + varint(size) + tensor + head
    start = varint(1 << 3) + varint(8) + field(8, varint(2 << 3) + varint(15))
    start += varint(7 << 3 | 2) + varint(len(graph) + GIGABYTE) + graph
    path = files.write(folder, start)
    with path.open("r+b") as file:
        file.truncate(len(start) + GIGABYTE)
    return path


def test_a_gigabyte_of_weights_is_not_read(tmp_path: Path) -> None:
    path = sparse_gigabyte(tmp_path)
    with little_memory():
        report = check_file(path, "ort")
    assert "1,024 MiB of weights" in next(f.found for f in report.findings if f.code == "heavy")
    assert not report.ok


def test_a_gigabyte_behind_one_field_is_not_read(tmp_path: Path) -> None:
    path = files.write(tmp_path, varint(14 << 3 | 2) + varint(GIGABYTE) + varint(1 << 3 | 2) + varint(GIGABYTE - 6))
    with path.open("r+b") as file:
        file.truncate(len(path.read_bytes()) + GIGABYTE - 6)
    with little_memory():
        assert "the key at byte" in files.only(check_file(path, "ort"))


@pytest.mark.parametrize("number", [1, 5])
def test_a_flood_of_empty_messages_is_refused(tmp_path: Path, number: int) -> None:
    path = files.write(tmp_path, field(7, field(number, b"") * (4 << 20)))
    with little_memory():
        assert f"more than {wire.MAX_FIELDS:,} fields" in files.only(check_file(path, "sentis"))


def test_a_flood_of_names_is_refused(tmp_path: Path) -> None:
    path = files.write(tmp_path, field(7, field(1, field(1, b"x" * 4096)) * 20_000))
    with little_memory():
        assert "names and small constants" in files.only(check_file(path, "sentis"))


def test_just_below_the_limits_it_still_ends_soon(tmp_path: Path) -> None:
    numbers = (b"%d" % number for number in range(wire.MAX_FIELDS // 4 - 10))
    nodes = b"".join(field(1, field(1, b"a" + n) + field(2, b"b" + n) + field(4, b"Tanh" + n)) for n in numbers)
    path = files.write(tmp_path, field(7, nodes))
    with little_memory():
        report = check_file(path, "mlagents")
    assert not report.ok
    assert len(report.findings) < 100


def test_a_tensor_of_many_axes_is_refused(tmp_path: Path) -> None:
    dims = (varint(1 << 3) + varint((1 << 62) + 1)) * 100_000
    path = files.write(tmp_path, field(7, field(5, dims + varint(2 << 3) + varint(1) + field(8, b"w"))))
    assert "damaged-tensor" in {finding.code for finding in check_file(path, "ort").findings}


@pytest.mark.parametrize("dims", [[1 << 31, 1 << 31], [-1, 4], [1 << 62, 1 << 62, 7]])
def test_a_tensor_that_declares_more_than_it_holds(tmp_path: Path, dims: list[int]) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims[:] = dims

    with little_memory():
        report = check_file(files.save(files.simple(), tmp_path, change), "ort")
    assert [finding.code for finding in report.findings] == ["damaged-tensor"]


def test_an_input_of_terabytes_is_never_allocated(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 40

    with little_memory():
        report = check_file(files.save(files.simple(), tmp_path, change), "ort")
    assert [finding.code for finding in report.findings] == ["huge-tensor"]


@pytest.mark.parametrize("place", ["/etc/passwd", "../../secret", "C:\\Users\\secret", "~/secret", "\\\\host\\share"])
def test_a_path_in_the_file_is_reported_and_not_followed(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].attribute.append(helper.make_attribute("far", numpy_helper.from_array(np.zeros(3))))
        tensor = model.graph.node[0].attribute[0].t
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)

    monkeypatch.setattr(check, "try_out", None)  # whoever ran the file would fail here
    report = check_file(files.save(files.simple(), tmp_path, change), "ort")
    assert {finding.code for finding in report.findings} == {"second-file-elsewhere", "second-file"}
    assert "was not followed" in report.findings[0].consequence


def test_a_second_file_beside_it_is_not_opened(tmp_path: Path) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "weights.data")  # whoever opened it would wait for ever

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].ClearField("raw_data")
        model.graph.initializer[0].data_location = TensorProto.EXTERNAL
        model.graph.initializer[0].external_data.add(key="location", value="weights.data")

    report = check_file(files.save(files.simple(), tmp_path, change), "ort")
    assert [finding.code for finding in report.findings] == ["second-file"]


def test_two_graphs_are_not_one(tmp_path: Path) -> None:
    content = files.simple().SerializeToString()
    assert "the field graph twice" in files.only(check_file(files.write(tmp_path, content + content), "ort"))


def nested(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, inner)))
    return field(7, inner)


def test_subgraphs_in_subgraphs(tmp_path: Path) -> None:
    assert "nested more than" in files.only(check_file(files.write(tmp_path, nested(1000)), "sentis"))
    assert "operator" in {finding.code for finding in check_file(files.write(tmp_path, nested(30)), "sentis").findings}


def asks_for(operator: str) -> Callable[[onnx.ModelProto], None]:
    """A shape that only a run knows: two stored numbers, multiplied."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 18], np.int64), "side"))
        model.graph.node.append(helper.make_node("Mul", ["side", "side"], ["huge"]))
        model.graph.node.append(helper.make_node(operator, ["huge"], ["all"]))
        model.graph.node.append(helper.make_node("ReduceSum", ["all"], ["sum"], keepdims=0))
        model.graph.node[0].output[0] = "raw"
        model.graph.node.append(helper.make_node("Add", ["raw", "sum"], ["head_params"]))

    return change


def test_a_run_that_asks_for_all_memory_ends_in_a_finding(tmp_path: Path) -> None:
    path = files.save(files.simple(), tmp_path, asks_for("ConstantOfShape"))
    codes = {finding.code for finding in check_file(path, "ort").findings}
    assert len(codes) == 1
    assert codes <= {"does-not-load", "does-not-run", "no-trial"}


def endless(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Tanh", ["x"], ["y"])], "body",
        [files.value("i", TensorProto.INT64), files.value("go", TensorProto.BOOL),
         files.value("x", TensorProto.FLOAT, "n", 4)],
        [files.value("on", TensorProto.BOOL), files.value("y", TensorProto.FLOAT, "n", 4)],
    )  # fmt: skip
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node[0].output[0] = "raw"
    model.graph.node.append(helper.make_node("Loop", ["", "yes", "raw"], ["head_params"], body=body))


def test_a_run_without_end_ends_in_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 2)
    report = check_file(files.save(files.simple(), tmp_path, endless), "ort")
    assert [finding.code for finding in report.findings] == ["no-trial"]
    assert "did not end within" in report.findings[0].found
