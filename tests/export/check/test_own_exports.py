"""What `npcmeta export` writes passes every check, the run as well; what an engine runs beside it is accepted too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from torch import Generator

from npcmeta.archetype import Archetype, save_archetype
from npcmeta.types import BehaviorSpec, Normaliser
from npcmeta_export import TARGETS, export
from npcmeta_export.check import CONTRACTS, check_file
from tests import toys
from tests.export.check import files


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Archetype:
    settings, spec = toys.small_settings("cnp"), BehaviorSpec(7, toys.ACTIONS["mixed"], 10.0)
    meta = settings.build(spec).init(Generator().manual_seed(3))
    ends = Normaliser((0.1,) * 7, (1.5,) * 7)
    draft = Archetype("guard", "arena", "cnp", settings, spec, ends, {}, {}, meta)
    return save_archetype(draft, tmp_path_factory.mktemp("guard") / "guard.safetensors")


def test_there_is_a_contract_for_every_target() -> None:
    assert set(CONTRACTS) == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_an_export_passes_without_a_word(guard: Archetype, tmp_path: Path, target: str) -> None:
    assert check_file(export(guard, target, tmp_path)[0], target).findings == ()


@pytest.mark.parametrize("target", ["policy", "adapt", "begin"])
def test_unity_sentis_takes_the_graphs_of_the_device(guard: Archetype, tmp_path: Path, target: str) -> None:
    report = check_file(export(guard, target, tmp_path)[0], "sentis", run=False)
    assert report.ok, report.findings


def test_an_inner_loop_in_float64_is_meant_so_where_it_is_not_narrowed(guard: Archetype, tmp_path: Path) -> None:
    path = export(guard, "adapt", tmp_path)[0]
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3), "exact"))
    files.save(model, tmp_path)
    assert check_file(tmp_path / "guard.onnx", "adapt", run=False).findings == ()
    assert "narrowing" in {
        finding.code for finding in check_file(tmp_path / "guard.onnx", "sentis", run=False).findings
    }
