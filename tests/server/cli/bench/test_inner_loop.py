"""`npcmeta bench inner-loop`: contenders compute the same, and the figures that scripts rely on."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from npcmeta.types import ActionSpec, Params
from npcmeta_server.cli import main
from npcmeta_server.cli.bench import contenders, inner_loop, works
from npcmeta_server.cli.bench.contenders import CONTENDERS, Contender
from npcmeta_server.cli.bench.inner_loop import Row
from npcmeta_server.cli.bench.saved import saved_bytes
from npcmeta_server.cli.bench.works import Work

TINY = (
    Work("few-shot regression", (32, 32), ActionSpec(4, ()), 2, 3, 0.01, observation_size=6, tasks=5, meta_batch=3),
    Work("product", (16, 8), ActionSpec(0, (6,)), 9, 3, 0.1, observation_size=6, tasks=5, meta_batch=3),
)
NEED_NOTHING = [each for each in CONTENDERS if not each.packages]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(works, "WORKS", TINY)
    monkeypatch.setattr(inner_loop, "GEMM_SECONDS", 0.001)
    monkeypatch.setenv("COLUMNS", "200")


def figures_of(path: Path) -> dict[str, Any]:
    assert main(["bench", "inner-loop", "--repeats", "1", "--no-libraries", "--json", str(path)]) == 0
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures


def test_figures_hold_what_scripts_rely_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = figures_of(tmp_path / "new" / "figures.json")
    assert figures["threads"] == 1
    ratios = {
        "ratio_first_order", "ratio_first_order_stacked", "ratio_second_order", "ratio_second_order_stacked",
        "saved_ratio_second_order", "share_of_floor", "sgemm_gflops",
    }  # fmt: skip
    assert set(figures) == {"threads", "rows", "product", *ratios}
    assert set(figures["product"]) == ratios
    assert all(figures[key] > 0 and figures["product"][key] > 0 for key in ratios)
    named = {(row["work"], row["method"], row["mode"]) for row in figures["rows"]}
    modes = ("first_order", "second_order")
    assert named == {(work.name, each.name, mode) for work in TINY for each in NEED_NOTHING for mode in modes}
    for row in figures["rows"]:
        assert row["tasks_per_second"] > 0
        assert row["max_abs_difference"] < 1e-5
        assert (row["mode"] == "second_order") == ("saved_bytes" in row)
    said = capsys.readouterr().out
    assert all(each.name in said for each in NEED_NOTHING)


def test_ratios_are_ours_to_the_best_of_the_others() -> None:
    speeds = {"ours": [600.0], "torch": [150.0], "library": [100.0, 200.0]}
    rows = [
        Row("w", f"{kind} {speed}", kind, mode, speed * factor, 0.0, saved)
        for mode, factor, saved in (("first_order", 1.0, None), ("second_order", 0.5, int(1e6)))
        for kind, values in speeds.items()
        for speed in values
    ]
    rows[4] = rows[4]._replace(saved_bytes=int(4e5))
    found = inner_loop.ratios(works.WORKS[0], rows, gflops=2.0)
    assert found["ratio_first_order"] == pytest.approx(3.0)
    assert found["ratio_first_order_stacked"] == pytest.approx(4.0)
    assert found["ratio_second_order"] == pytest.approx(3.0)
    assert found["saved_ratio_second_order"] == pytest.approx(0.4)
    operations = works.floating_point_operations(works.WORKS[0])
    assert found["share_of_floor"] == pytest.approx(600 * operations / 2e9)


def test_the_floor_counts_what_plain_sgd_multiplies() -> None:
    work = Work("few-shot regression", (256, 256), ActionSpec(16, ()), shots=10, query_shots=15, rate=0.01)
    assert works.floating_point_operations(work) == pytest.approx(26.75e6, rel=1e-3)


@pytest.mark.parametrize("contender", NEED_NOTHING, ids=[each.name for each in NEED_NOTHING])
@pytest.mark.parametrize("work", TINY, ids=[work.name for work in TINY])
def test_contenders_compute_the_same_in_float64(contender: Contender, work: Work) -> None:
    """Where precision is no excuse."""
    problem = inner_loop.doubled(works.pose(work, 3))
    ready, reference = contender.prepare(problem), inner_loop.in_float64(works.pose(work, 3))
    torch.testing.assert_close(ready.first_order(), reference.first_order(), rtol=1e-11, atol=1e-11)
    found, expected = (each.meta_gradient(each.second_order()) for each in (ready, reference))
    assert set(found) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-11, atol=1e-11)


def test_a_contender_that_computes_something_else_is_found() -> None:
    problem = works.pose(TINY[0], 3)
    ready, reference = CONTENDERS[0].prepare(problem), inner_loop.in_float64(problem)

    def wrong(loss: Tensor) -> Params:
        return {key: 1.1 * value for key, value in ready.meta_gradient(loss).items()}

    with pytest.raises(RuntimeError, match=r"npcmeta: 0.weight is 1.0e-01 off in second_order, expected at most 1e-02"):
        inner_loop.check(CONTENDERS[0], ready._replace(meta_gradient=wrong), reference, "second_order")


def test_missing_libraries_are_named_with_what_installs_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["bench", "inner-loop"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: higher and torchopt would be measured, too, but are not installed")
    assert 'pip install "npcmeta[bench]"' in said
    assert "--no-libraries" in said


@pytest.mark.parametrize("repeats", ["0", "-3"])
def test_repeats_have_to_be_some(repeats: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "inner-loop", "--no-libraries", "--repeats", repeats]) == 1
    assert "expected a number from 1 to 10000" in capsys.readouterr().err


def test_saved_bytes_are_those_that_torch_packs() -> None:
    for contender in (CONTENDERS[0], CONTENDERS[1]):
        ready = contender.prepare(works.pose(TINY[0], 3))
        packed: dict[int, int] = {}

        def pack(tensor: Tensor, packed: dict[int, int] = packed) -> Tensor:
            packed[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = ready.second_order()
        # But for single numbers, which torch does not pack.
        assert saved_bytes(loss) == pytest.approx(sum(packed.values()), rel=1e-2)


def test_every_contender_has_its_module() -> None:
    folder = Path(contenders.__file__).parent
    for contender in CONTENDERS:
        assert f"def {contender.function}(" in (folder / f"{contender.module}.py").read_text()
