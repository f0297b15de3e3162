"""Each long run at a hundredth of its length, or as near to it as finds anything."""

from pathlib import Path

import pytest

from tests.soak.runs import RUNS

SHARES = {"kills": 0.02, "workers": 0.02, "fuzz": 0.01, "churn": 0.01, "throng": 0.02, "slow": 0.05}


@pytest.mark.parametrize("name", RUNS)
def test_a_long_run_holds_for_a_while(name: str, tmp_path: Path) -> None:
    heard: list[float] = []
    report = RUNS[name](tmp_path, SHARES[name], 1, heard.append)
    assert report.run == name
    assert heard == sorted(heard)
    assert heard[-1] == 1
