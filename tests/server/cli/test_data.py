"""`npcmeta data inspect`: what it says of recordings, and of files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from npcmeta.recordings.demo_writer import write_demo
from npcmeta.recordings.npz_writer import write_npz
from npcmeta_server.cli import main
from tests.npcmeta.recordings import unity_bytes as unity
from tests.npcmeta.recordings.plays import play


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def inspect(path: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> list[str]:
    """What the command says, its words a single space apart."""
    assert main(["data", "inspect", str(path)]) == status
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_file_of_unitys_is_described_with_what_its_header_gets_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.demo").write_bytes(unity.two_episodes())
    said = inspect(tmp_path / "clip.demo", capsys, status=1)
    assert "steps 3 (0.0 minutes)" in said
    assert "episodes 2 of 1 to 2 steps" in said
    assert "reward per episode 0.250" in said
    assert "episodes 3 in the header (Unity counts one too many), 2 done flags" in said
    assert "mean reward 0.167 in the header" in said
    assert "brain 'Guard'" in said
    assert "0 1 33.3 % 100.0 %" in said
    assert any(line.startswith("actions in .demo files: taken from the record after") for line in said)
    assert "zero signature: 2 of 2 episodes begin with zeros; 0.0 % of the other actions are" in said
    assert not any("as they stand" in line for line in said)
    assert any(line.startswith("problem: not enough to train on or evaluate: clip has 3 steps") for line in said)


def test_actions_that_do_not_stand_late_are_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [unity.record([unity.sensor([float(i)])], discrete=[1 - i % 2], done=i == 29) for i in range(30)]
    (tmp_path / "foreign.demo").write_bytes(unity.demo(records, unity.brain([2])))
    said = inspect(tmp_path / "foreign.demo", capsys, status=1)
    assert any("foreign.demo: only 0 of 1 episodes begin with zeros" in line for line in said)


def test_help_names_the_action_wherever_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "inspect", "--help"])
    assert "usage: npcmeta data [-h] {inspect} PATH" in capsys.readouterr().out


def test_an_npz_file_is_taken_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_npz(tmp_path / "clip.npz", play(1000, continuous=2, episode=250))
    said = inspect(tmp_path / "clip.npz", capsys)
    assert "actions in .npz files: as they stand, each beside the observation that it answered" in said
    assert not any("zero signature" in line or "in the header" in line for line in said)
    assert "episodes 4 of 250 steps" in said
    assert "continuous actions 2" in said
    assert "discrete branches 3 + 2 choices" in said
    assert "tasks of training: 10 segments of 100 steps" in said
    expected = ", ".join(f"1 for {k} shots" for k in (10, 20, 50, 100, 200, 500))
    assert f"characters that can be evaluated (K shots need 2K steps): {expected}" in said
    assert any("1 character only" in line for line in said)


def test_a_folder_has_a_line_for_each_character(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, steps in enumerate((40, 100, 200, 60, 400)):
        write_npz(tmp_path / f"player-{seed}" / "1.npz", play(steps, seed=seed, episode=20))
    write_demo(tmp_path / "player-0" / "2.demo", play(60, seed=9, episode=20))
    write_npz(tmp_path / "twin" / "1.npz", play(200, seed=2, episode=20))
    said = inspect(tmp_path, capsys)
    lines = {line.split()[0]: line.split() for line in said if line.startswith(("player-", "twin"))}
    assert lines["player-0"][1:3] == ["100", "5"]
    assert lines["player-0"][4:] == ["3", "of", "3"]
    assert lines["player-4"][1:3] == ["400", "20"]
    assert lines["player-4"][-1] == "-"
    assert "characters 6" in said
    assert "tasks of training: 6 characters of 60 to 400 steps" in said
    expected = "6 for 10 shots, 6 for 20 shots, 5 for 50 shots, 3 for 100 shots, 1 for 200 shots"
    assert f"characters that can be evaluated (K shots need 2K steps): {expected}" in said
    assert "note: twin and player-2 hold the same play" in said


def test_columns_and_choices_that_say_nothing_are_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    idle = play(40)
    idle.observations[:, 2] = 7.0
    np.savez(tmp_path / "clip.npz", observations=idle.observations, discrete_actions=idle.discrete_actions * 0)
    said = inspect(tmp_path / "clip.npz", capsys, status=1)
    assert (
        "note: branch_sizes is not given, 1 + 1 choices were seen: if there are more, branch_sizes in behavior.json"
        in said
    )
    assert "note: 1 of 4 observations never change: 2" in said
    assert any(line.startswith("problem: branch 0 has one choice only") for line in said)
    assert any("not enough to train on or evaluate: discrete_actions, branch 0" in line for line in said)


def test_numbers_of_any_size_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scales = np.array([1.0, 1e-5, 1e12], np.float32)
    write_npz(
        tmp_path / "clip.npz",
        play(200)._replace(observations=np.tile([[1.0], [3.0]], (100, 3)).astype(np.float32) * scales),
    )
    said = inspect(tmp_path / "clip.npz", capsys)
    assert "0 2.000 1.000 1.000 3.000" in said
    assert "1 2e-05 1e-05 1e-05 3e-05" in said
    assert "2 2e+12 1e+12 1e+12 3e+12" in said
    nearly_zero = np.tile([[1.0002], [-1.0]], (100, 4)).astype(np.float32)
    write_npz(tmp_path / "clip.npz", play(200)._replace(observations=nearly_zero))
    assert "0 0.000 1.000 -1.000 1.000" in inspect(tmp_path / "clip.npz", capsys)


def test_names_from_a_file_cannot_dress_up_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_demo(tmp_path / "clip.demo", play(40)._replace(name="[red]\x1b[2J"), brain="[bold]x")
    said = inspect(tmp_path / "clip.demo", capsys)
    assert "demonstration '[red]\\x1b[2J'" in said
    assert "brain '[bold]x'" in said


def test_a_bad_file_is_named_wherever_it_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_npz(tmp_path / "alice" / "1.npz", play(40))
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "1.demo").write_bytes(unity.two_episodes()[:-60])
    for path in (tmp_path, tmp_path / "bob" / "1.demo"):
        assert main(["data", "inspect", str(path)]) == 1
        said = capsys.readouterr()
        assert said.err.startswith(f"error: {tmp_path / 'bob' / '1.demo'}: ")
        assert "is it cut short?" in said.err
        assert said.out == ""
    assert main(["data", "inspect", str(tmp_path / "none")]) == 1
    assert "there is no such file or folder" in capsys.readouterr().err


def test_every_file_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "behavior.json").write_text('{"observation_size": 4}')
    good = play(40, continuous=1)
    arrays = {"observations": good.observations, "continuous_actions": good.continuous_actions}
    bad = {
        "alice": arrays,
        "bob": arrays | {"continuous_actions": 90 * good.continuous_actions},
        "carl": {"observations": good.observations, "discrete_actions": np.zeros(40, dtype=np.int64)},
        "dora": {"observations": good.observations[:, :3], "continuous_actions": good.continuous_actions},
        "emil": arrays,
    }
    for name, held in bad.items():
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "1.npz", **held)  # type: ignore[arg-type]
    cut = tmp_path / "emil" / "1.npz"
    cut.write_bytes(cut.read_bytes()[:-30])
    assert main(["data", "inspect", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: 4 recordings cannot be used:"
    assert "bob/1.npz: continuous_actions, step 0, column 0: " in lines[1]
    assert "expected -1 to 1, as a policy puts out nothing else: scale them when recording" in lines[1]
    assert "expected int64 [T, B]: for one column, discrete_actions[:, None]" in lines[2]
    assert "dora/1.npz: observation_size is 3; expected 4" in lines[3]
    assert "emil/1.npz: not a readable .npz file" in lines[4]
    assert lines[4].endswith("is it cut short? copy it again")
