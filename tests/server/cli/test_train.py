"""`npcmeta train`: what it writes, how it goes on after an interruption, and what it says about nonsense."""

import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from npcmeta.archetype import load_archetype
from npcmeta.outer_loop import Outcome
from npcmeta.tasks import FAMILIES
from npcmeta_server.cli import main
from npcmeta_server.cli.fitting import Report, Shown
from npcmeta_server.cli.train import following
from npcmeta_server.cli.train import train as command
from tests import toys

pytestmark = pytest.mark.xdist_group("train")
SMALL = ["--settings", "hidden=16,"]


def train(out: Path, *more: str) -> int:
    return main(["train", "--family", "sinusoid", "--out", str(out), "--meta-steps", "30", *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that one training wrote."""
    out = tmp_path_factory.mktemp("train") / "Wave 1"
    assert train(out, *SMALL) == 0
    return out


def test_an_archetype_and_its_baseline_are_written_and_nothing_else(trained: Path) -> None:
    assert sorted(path.name for path in trained.iterdir()) == ["archetype.safetensors", "baseline.safetensors"]
    archetype, baseline = (load_archetype(trained / f"{name}.safetensors") for name in ("archetype", "baseline"))
    assert (archetype.name, archetype.learner_name, archetype.family) == ("wave-1", "maml", "sinusoid")
    assert (baseline.name, baseline.learner_name, baseline.family) == ("wave-1-baseline", "finetune", "sinusoid")
    assert archetype.settings.hidden == (16,)  # type: ignore[attr-defined]
    for made in (archetype, baseline):
        assert made.split == {"split": 0, "test": "600 waves of their own seed", "seed": 0}
        assert made.provenance["outer"]["meta_steps"] == 30
        assert made.provenance["seed"] == 0
    assert archetype.normaliser.std[0] == pytest.approx(10 / 12**0.5, rel=0.1)


def test_what_was_trained_can_be_evaluated(trained: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(trained), "--shots", "0,10", "--json", str(tmp_path / "rows.json")]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["learner"] for row in rows] == ["maml", "average", "finetune"] * 2
    assert {row["tasks"] for row in rows} == {600}
    assert (tmp_path / "rows.png").exists()


SLOW_AND_CAREFUL = """
import sys, time
from npcmeta import training
from npcmeta_server.cli import main

def advance(loop, advance=training.OuterLoop.advance):
    time.sleep(0.05)
    return advance(loop)

training.OuterLoop.advance = advance
training.SECONDS_BETWEEN_CHECKPOINTS = 0.0
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""
"""The command with steps that take their time, and a checkpoint at each; the training process reads it again."""


def test_a_training_that_was_killed_goes_on_and_ends_the_same(trained: Path, tmp_path: Path) -> None:
    """Killed outright, the command cannot end its processes; they notice, and the next one finds their checkpoint."""
    (tmp_path / "slow.py").write_text(SLOW_AND_CAREFUL)
    out, checkpoint = tmp_path / "wave-1", tmp_path / "wave-1/archetype.checkpoint"
    command = ["train", "--family", "sinusoid", "--meta-steps", "30", "--no-baseline", *SMALL, "--out", str(out)]
    started = subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py"), *command], env=environment(), stdout=subprocess.DEVNULL
    )
    wait_until(lambda: checkpoint.exists() or started.poll() is not None)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    wait_until(lambda: not written_within(checkpoint, seconds=0.3))
    assert [path.name for path in out.iterdir()] == ["archetype.checkpoint"]
    assert main(command) == 0
    assert [path.name for path in out.iterdir()] == ["archetype.safetensors"]
    killed, whole = (load_archetype(folder / "archetype.safetensors") for folder in (out, trained))
    toys.assert_same_bits(killed.meta, whole.meta)
    assert killed.provenance["history"] == whole.provenance["history"]


def test_a_training_that_is_interrupted_saves_its_step_and_says_where_it_goes_on(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slow.py").write_text(SLOW_AND_CAREFUL.replace("CHECKPOINTS = 0.0", "CHECKPOINTS = 1e9"))
    out = tmp_path / "wave-1"
    command = ["train", "--family", "sinusoid", "--meta-steps", "30", "--no-baseline", *SMALL, "--out", str(out)]
    started = subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py"), *command], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    while "20 %" not in started.stdout.readline():
        assert started.poll() is None
    started.send_signal(signal.SIGINT)
    said, _ = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "the same command goes on from here" in said
    assert [path.name for path in out.iterdir()] == ["archetype.checkpoint"]
    assert main(command) == 0
    assert re.search(r"archetype: goes on at [2-9]\d %", capfd.readouterr().out)
    toys.assert_same_bits(*(load_archetype(folder / "archetype.safetensors").meta for folder in (out, trained)))


def test_what_was_finished_before_an_interrupt_is_kept_as_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    slow_baseline = "time.sleep(0.2 * current_process().name.endswith('-2'))"
    script = SLOW_AND_CAREFUL.replace(
        "import sys, time", "import sys, time\nfrom multiprocessing import current_process"
    )
    (tmp_path / "slow.py").write_text(script.replace("time.sleep(0.05)", slow_baseline))
    out = tmp_path / "wave"
    command = ["train", "--family", "sinusoid", "--meta-steps", "30", *SMALL, "--out", str(out)]
    started = subprocess.Popen([sys.executable, str(tmp_path / "slow.py"), *command], env=environment())
    wait_until(lambda: (out / "archetype.safetensors").exists() or started.poll() is not None)
    started.send_signal(signal.SIGINT)
    assert started.wait(timeout=60) == 130
    assert not (out / "baseline.safetensors").exists()
    before = (out / "archetype.safetensors").read_bytes()
    capfd.readouterr()
    assert main(command) == 0
    assert (out / "archetype.safetensors").read_bytes() == before
    said = capfd.readouterr().out
    assert "baseline: goes on at" in said
    assert not re.search(r"archetype: [1-9]0 %", said)
    assert sorted(path.name for path in out.iterdir()) == ["archetype.safetensors", "baseline.safetensors"]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def wait_until(ready: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < limit
        time.sleep(0.02)


def written_within(path: Path, seconds: float) -> bool:
    before = path.stat().st_mtime_ns
    time.sleep(seconds)
    return path.stat().st_mtime_ns != before


def test_the_next_command_can_be_pasted_and_names_what_it_needs() -> None:
    assert following(Path("runs/my guards"), None) == "npcmeta evaluate 'runs/my guards'"
    said = following(Path("runs/mine"), Path("recordings"))
    assert said == "npcmeta evaluate runs/mine --data PATH  # characters that are not in recordings"


def test_help_says_how_long_each_family_is_trained_if_nobody_says_it() -> None:
    told = inspect.getdoc(command)
    assert told is not None
    for name, family in FAMILIES.items():
        assert f"{name} {family.outer['meta_steps']}" in told


def test_finetune_is_its_own_baseline(tmp_path: Path) -> None:
    assert train(tmp_path, "--learner", "finetune", *SMALL, "--minutes", "0.01", "--name", "other") == 0
    assert (tmp_path / "archetype.safetensors").read_bytes() == (tmp_path / "baseline.safetensors").read_bytes()
    archetype = load_archetype(tmp_path / "archetype.safetensors")
    assert archetype.name == "other"
    assert archetype.provenance["outer"]["minutes"] == 0.01
    assert all(torch.isfinite(value).all() for value in archetype.meta.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--family", "sinus"], 'there is no task family "sinus"; expected one of: sinusoid, arena'),
        (["--learner", "mamal"], 'there is no learner "mamal"; expected one of: bayes, finetune, maml'),
        (["--settings", "innerrate=1"], "maml has no setting ['innerrate']; expected some of ['activation',"),
        (["--settings", "inner_steps=2.5"], "setting inner_steps is 2.5, expected a whole number from 1"),
        (["--settings", "hidden=16,x"], "setting hidden is '16,x', expected at most 8 whole numbers"),
        (["--settings", "inner_rate"], 'setting "inner_rate": expected KEY=VALUE'),
        (["--meta-steps", "0"], "--meta-steps is 0, expected at least 1"),
        (["--seed", "-1"], "--seed is -1, expected 0 to 9223372036854775807"),
        (["--split", "9007199254740993"], "--split is 9007199254740993, expected 0 to 9007199254740992"),
        (["--minutes", "-1"], "--minutes is -1.0, expected more than 0"),
        (["--name", "My Guard"], '--name "My Guard": expected at most 63 of a-z'),
        (["--family", "recorded"], "is made of recordings: say where they are with --data PATH"),
        (["--data", "x"], 'the family "sinusoid" brings its own tasks: leave out --data'),
    ],
)
def test_nonsense_is_answered_with_what_is_possible(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--family", "sinusoid", "--out", str(tmp_path / "out"), *arguments]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_what_goes_wrong_while_training_reaches_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "archetype.checkpoint").write_bytes(b"not a checkpoint")
    assert train(tmp_path, "--no-baseline") == 1
    assert "not an intact checkpoint" in capsys.readouterr().err


def test_without_a_terminal_progress_is_a_line_at_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:

    with Shown(["archetype"], Console(force_terminal=False, width=80)) as shown:
        shown.update(Report(0, stage="preparing tasks"))
        for step in range(1, 1001):
            shown.update(Report(0, Outcome(step, step / 1000, 0.5, None, float("inf"), 100.0, 1.0)))
        shown.update(Report(0, finished=()))
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0] == "archetype: 0 %  preparing tasks"
    assert lines[1] == "archetype: 10 %  loss 0.500  held-out -  100 tasks/s"
    assert lines[-1] == "archetype: 100 %  done"
    assert len(lines) == 11


def test_in_a_terminal_progress_is_a_bar_on_one_line() -> None:

    screen = io.StringIO()
    with Shown(["archetype", "baseline"], Console(file=screen, force_terminal=True, width=80)) as shown:
        shown.update(Report(0, Outcome(900, 0.9, 12.345, 1.0, -12.345, 12345.0, 61.0)))
    assert "held-out -12.345  12345 tasks/s" in screen.getvalue()
    assert "…" not in screen.getvalue()
