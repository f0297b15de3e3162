"""The benchmark of the inner loop, on a small work and with the contenders that need nothing but torch."""

import json
from pathlib import Path

import pytest

from npcmeta.types import ActionSpec
from npcmeta_server.cli import main
from npcmeta_server.cli.bench import inner_loop, works
from npcmeta_server.cli.bench.contenders import CONTENDERS, Contender
from npcmeta_server.cli.bench.works import Work

SMALL = (
    Work("few-shot regression", (12, 12), ActionSpec(3, ()), 4, 5, 0.01, observation_size=6, tasks=3, meta_batch=3),
    Work("product", (10,), ActionSpec(0, (4,)), 20, 5, 0.1, observation_size=6, tasks=3, meta_batch=3),
)
RATIOS = {"ratio_first_order", "ratio_first_order_stacked", "ratio_second_order", "share_of_floor", "sgemm_gflops"}


@pytest.fixture(autouse=True)
def small_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(works, "WORKS", SMALL)


def test_figures_that_scripts_rely_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["bench", "inner-loop", "--repeats", "1", "--no-libraries", "--json", str(tmp_path / "figures.json")]) == 0
    )
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["threads"] == 1
    assert figures.keys() >= RATIOS
    assert figures["product"].keys() >= RATIOS
    assert figures["ratio_first_order"] is None  # no library was measured
    assert figures["ratio_first_order_stacked"] > 0
    modes = {(row["work"], row["method"], row["mode"]) for row in figures["rows"]}
    assert len(modes) == len(figures["rows"]) == 2 * 2 * 2
    assert all(row["tasks_per_second"] > 0 for row in figures["rows"])
    assert all(row["max_abs_difference"] < 1e-4 for row in figures["rows"])
    assert all(row["saved_bytes"] > 0 for row in figures["rows"] if row["mode"] == "second_order")
    assert "npcmeta is" in capsys.readouterr().out


@pytest.mark.parametrize("contender", [each for each in CONTENDERS if not each.packages], ids=lambda each: each.name)
@pytest.mark.parametrize("work", SMALL, ids=lambda work: work.name)
def test_everybody_computes_the_same(contender: Contender, work: Work) -> None:
    problem = works.pose(work, 3)
    reference, ready = inner_loop.in_float64(problem), contender.prepare(problem)
    for mode in ("first_order", "second_order"):
        difference, _ = inner_loop.check(contender, ready, reference, mode)
        assert difference < 1e-4


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = Contender("telepathy", "library", "functional", "one_by_one", ("telepathy_inner_loop",))
    monkeypatch.setattr(inner_loop, "CONTENDERS", (*CONTENDERS[:1], foreign))
    assert main(["bench", "inner-loop", "--repeats", "1"]) != 0
    assert 'pip install "npcmeta[bench]"' in capsys.readouterr().err
