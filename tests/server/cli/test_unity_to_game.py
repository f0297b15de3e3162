"""The whole way of somebody with one recording of Unity's: inspect, train, adapt, export, play."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from npcmeta_export import load_session
from npcmeta_server.cli import main
from tests.npcmeta.recordings import unity_bytes as unity

pytestmark = pytest.mark.xdist_group("train")
EPISODE, EPISODES = 200, 10


def decide(observations: NDArray) -> NDArray:
    """A character by hand: it steers by the first two numbers, and shoots when the third is positive."""
    steering = [np.digitize(observations[:, column], [-0.4, 0.4]) for column in (0, 1)]
    return np.stack([*steering, observations[:, 2] > 0], axis=1).astype(np.int64)


def recording_of_unitys() -> bytes:
    """2000 records in which every action stands beside the observation after the one that it answered."""
    observations = np.random.default_rng(0).standard_normal((EPISODES, EPISODE, 4))
    records = []
    for seen in observations:
        late = np.concatenate([np.zeros((1, 3), dtype=np.int64), decide(seen)[:-1]])
        for step, (numbers, choices) in enumerate(zip(seen.tolist(), late.tolist(), strict=True)):
            done = step == EPISODE - 1
            records.append(unity.record([unity.sensor(numbers)], discrete=choices, reward=0.01, done=done))
    return unity.demo(records, unity.brain([3, 3, 2]), header=unity.meta(len(records), EPISODES + 1))


def test_one_recording_becomes_a_character_that_decides_as_its_player_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    clip, out, npc, assets = (str(tmp_path / name) for name in ("guard.demo", "guard", "bob.npc", "assets"))
    Path(clip).write_bytes(recording_of_unitys())

    assert main(["data", "inspect", clip]) == 0
    assert "zero signature: 10 of 10 episodes" in capsys.readouterr().out
    train = ["train", "--family", "recorded", "--data", clip, "--meta-steps", "150", "--no-baseline", "--out", out]
    assert main(train) == 0
    assert "1 character only: segments of their timelines are the tasks" in capsys.readouterr().out
    assert main(["adapt", out, "--demo", clip, "--out", npc]) == 0
    assert main(["export", out, "--npc", npc, "--target", "ort", "--out", assets]) == 0

    session = load_session(tmp_path / "assets" / "bob.ort.onnx")
    observations = np.random.default_rng(1).standard_normal((500, 4)).astype(np.float32)
    inputs = {"observation": observations, "action_mask": np.ones((500, 8), dtype=bool)}
    inputs["noise"] = np.zeros((500, 8), dtype=np.float32)
    choices = session.run(None, inputs)[0]
    assert (choices == decide(observations)).mean() > 0.85
