"""Files written for Unity: what Unity's own recorder would have written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from npcmeta.recordings.demo import read_demo
from npcmeta.recordings.demo_records import read_records
from npcmeta.recordings.demo_writer import write_demo
from npcmeta.recordings.recording import Recording, RecordingError, unmasked
from tests.npcmeta.recordings import unity_bytes as unity
from tests.npcmeta.recordings.plays import assert_same, masked, play


def short() -> Recording:
    """What `unity_bytes.two_episodes` is a recording of."""
    return Recording(
        np.array([[10.0], [11.0], [20.0]], dtype=np.float32),
        np.zeros((3, 0), dtype=np.float32),
        np.array([[1], [2], [2]]),
        unmasked(3, (3,)),
        np.array([True, False, True]),
        np.array([0.5, 1.0, -1.0], dtype=np.float32),
        (3,),
        name="guard",
    )


def test_actions_are_written_one_record_late_as_unity_does(tmp_path: Path) -> None:
    write_demo(tmp_path / "ours.demo", short())
    (tmp_path / "unitys.demo").write_bytes(unity.two_episodes())
    ours, unitys = read_records(tmp_path / "ours.demo"), read_records(tmp_path / "unitys.demo")
    for name in ("discrete_actions", "rewards", "done", "allowed"):
        assert getattr(ours, name).tolist() == getattr(unitys, name).tolist(), name
    # The observation after an episode's last action is in no recording.
    assert ours.observations[[0, 1, 3], 0].tolist() == unitys.observations[[0, 1, 3], 0].tolist()


def test_the_file_is_laid_out_as_unitys_is(tmp_path: Path) -> None:
    write_demo(tmp_path / "ours.demo", short(), brain="Guard")
    data = (tmp_path / "ours.demo").read_bytes()
    header = unity.framed(unity.meta(5, 2, name="guard", reward=0.25))
    brain = unity.block(7, b"Guard") + unity.block(9, unity.number(2, 1) + unity.whole(3, [3]))
    assert data.startswith(header.ljust(33, b"\0") + unity.framed(brain))
    assert data.endswith(header)


@pytest.mark.parametrize(("continuous", "branches"), [(2, ()), (0, (3, 2)), (2, (5,)), (0, (3, 3, 2))])
def test_what_is_written_is_read_back(tmp_path: Path, continuous: int, branches: tuple[int, ...]) -> None:
    recording = masked(play(23, continuous=continuous, branches=branches))
    write_demo(tmp_path / "a.demo", recording)
    assert_same(read_demo(tmp_path / "a.demo"), recording)


def test_a_long_name_is_cut_between_characters(tmp_path: Path) -> None:
    write_demo(tmp_path / "a.demo", short()._replace(name="fünfzehn-Zeichenñ-und-mehr"))
    assert read_records(tmp_path / "a.demo").header.name == "fünfzehn-Zeiche"


def test_an_unsound_recording_leaves_no_file_behind(tmp_path: Path) -> None:
    bad = short()._replace(discrete_actions=np.array([[1], [2], [3]]))
    with pytest.raises(RecordingError, match="step 2, branch 0: 3; expected 0 to 2"):
        write_demo(tmp_path / "a.demo", bad)
    assert list(tmp_path.iterdir()) == []
