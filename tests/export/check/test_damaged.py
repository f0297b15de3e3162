"""Files that are no ONNX files, cut short or changed anywhere: a finding, and never an exception."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npcmeta_export.check import CONTRACTS, check_file
from tests.export.check import files

pytestmark = pytest.mark.timeout(200)
FOREIGN = {
    b"": "is empty",
    b"PK\x03\x04 archive": "torch.onnx.export",
    b"version https://git-lfs.github.com/spec/v1\noid": "git lfs pull",
    b"<!DOCTYPE html>": "fetch the file again",
    b'{"weights": []}': "JSON",
    b"\x89HDF\r\n": "HDF5",
    b"\x80\x02}q": "pickle",
    b"\x18\x00\x00\x00ORTM": "ORT format",
    b"\x89PNG\r\n\x1a\n0000": "",
    b"some text that somebody renamed": "",
}


@pytest.mark.parametrize("content", FOREIGN)
def test_what_is_no_onnx_file(tmp_path: Path, content: bytes) -> None:
    assert FOREIGN[content] in files.only(check_file(files.write(tmp_path, content), "ort"))


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "folder or a device" in files.only(check_file(tmp_path, "ort"))
    assert "folder or a device" in files.only(check_file(Path(os.devnull), "ort"))
    assert "No such file" in files.only(check_file(tmp_path / "none.onnx", "ort"))


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    whole = files.simple().SerializeToString()
    for end in range(len(whole)):
        assert not check_file(files.write(tmp_path, whole[:end]), "sentis", run=False).ok


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(content=st.binary(max_size=200), target=st.sampled_from(sorted(CONTRACTS)))
def test_garbage_is_a_finding(tmp_path: Path, content: bytes, target: str) -> None:
    assert not check_file(files.write(tmp_path, content), target, run=False).ok


@FUZZ
@given(data=st.data())
def test_changed_bytes_are_findings_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(files.mlagents().SerializeToString())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    report = check_file(files.write(tmp_path, bytes(content)), "mlagents", run=False)
    assert all(finding.found and finding.consequence and finding.remedy for finding in report.findings)


@pytest.mark.parametrize("seed", range(2))
def test_changed_files_may_be_run(tmp_path: Path, seed: int) -> None:
    generator, content = np.random.default_rng(seed), bytearray(files.godot().SerializeToString())
    for place in generator.integers(len(content), size=2):
        content[place] = generator.integers(256)
    assert check_file(files.write(tmp_path, bytes(content)), "godot").target == "godot"


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.output[0].name = "\x1b[2J\x07" + "x" * 3000
        model.graph.node[0].op_type = "\x1b]0;title\x07"

    for finding in check_file(files.save(files.simple(), tmp_path, change), "sentis").findings:
        assert all(text.isprintable() and len(text) < 600 for text in finding)
