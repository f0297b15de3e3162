"""The benchmarks of the store and the bank, as small as they can be: they run, and write what they say they write."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import bank_growth, commit_speed, store_growth

Run = Callable[..., dict[str, dict[str, dict[str, float]]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def called(main: Callable[[], object], *arguments: str) -> dict[str, dict[str, dict[str, float]]]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["bench", *arguments, "--json", "found.json"])
        main()
        found: dict[str, dict[str, dict[str, float]]] = json.loads((tmp_path / "found.json").read_text())
        assert [path.name for path in tmp_path.iterdir()] == ["found.json"]
        return found

    return called


def test_the_store_is_measured_at_each_size(run: Run) -> None:
    found = run(store_growth.main, "--sizes", "30,60", "--calls", "3", "--state-bytes", "50")
    assert list(found) == ["30", "60"]
    calls = ["open", "create", "commit", "get", "read the state", "list", "list archetype", "delete"]
    for row in found.values():
        assert list(row) == calls
        assert all(cell["clock_ms"] > 0 for cell in row.values())


def test_commits_are_measured_both_ways(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_speed.commits, "AT_ONCE", commit_speed.commits.AT_ONCE)  # which it changes
    found = run(commit_speed.main, "--clients", "4", "--commits", "2", "--turns", "1")
    assert {way: row["commits_per_second"] > 0 for way, row in found["ways"].items()} == {
        "alone": True,
        "together": True,
    }


def test_a_bank_is_measured_at_each_size(run: Run) -> None:
    found = run(bank_growth.main, "--sizes", "20,40", "--rows", "10", "--frames", "2", "--learner", "cnp")
    assert list(found["microseconds"]) == ["20", "40"]
    assert list(found["ratios"]) == ["side by side", "anywhere"]
