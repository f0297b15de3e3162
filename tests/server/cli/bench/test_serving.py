"""`npcmeta bench serving`: the figures that scripts rely on, and that wrong frames would be found."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npcmeta.archetype import begin_npc
from npcmeta_export.ort import ORT
from npcmeta_export.runtime import load_session
from npcmeta_export.template import fill, make_template
from npcmeta_server.cli import main
from npcmeta_server.cli.bench.serving import benchmark, figures, measuring, mlserver, processor, world
from npcmeta_server.cli.bench.serving.driver import Sent, Taught
from npcmeta_server.cli.bench.serving.measuring import Lesson
from npcmeta_server.cli.bench.serving.world import Work
from npcmeta_server.gen.npcmeta.v1 import act_pb2
from npcmeta_server.gen.open_inference import inference_pb2

TINY = Work(small=3, large=5, block=4, pairs=1, pair_seconds=1.0, lessons=2, clients=4, crowd=1)


def test_figures_hold_what_scripts_rely_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "WORK", TINY)
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "new" / "figures.json"
    assert main(["bench", "serving", "--repeats", "1", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    families = found.pop("families")
    assert list(families) == ["arena", "recorded"]
    assert families["arena"] == found
    assert found["bytes_per_npc"] == 32 * 4  # a context
    assert 1_000 < families["recorded"]["bytes_per_npc"] < 50_000  # some matrices, not a network
    for of in families.values():
        check_figures(of)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("dropped or wrong frames: 0") == 2


def check_figures(found: dict[str, Any]) -> None:
    assert set(found) == {"ratios", "dropped_frames", "bytes_per_npc", "rows"}
    assert set(found["ratios"]) == set(figures.TARGETS)
    assert all(value > 0 for value in found["ratios"].values())
    assert found["dropped_frames"] == 0
    frames = {(row["server"], row["npcs"]): row for row in found["rows"] if row["kind"] == "frame"}
    servers = {"npcmeta", "echo", "shared", "sessions"} | ({mlserver.NAME} if mlserver.installed() else set())
    assert set(frames) == {(name, rows) for name in servers for rows in (3, 5)}
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in frames.values())
    (pair,) = (row for row in found["rows"] if row["kind"] == "adapting_vs_busy")
    assert pair["frames"] > 0
    assert pair["adaptations"] > 0
    (adapt,) = (row for row in found["rows"] if row["kind"] == "adapt")
    assert 0 < adapt["inner_loop_p50_ms"] < adapt["adapt_p50_ms"]


def sent(at: float, revisions: list[int], actions: list[float], *, status: int = 0) -> Sent:
    """A frame of two NPCs that was sent at a time and answered a second later."""
    reply = act_pb2.ActResponse.FromString(world.reply(len(revisions)))
    part = reply.tick.parts[0]
    part.revisions[:] = revisions
    part.continuous_actions.CopyFrom(world.tensor(world.np.repeat(world.np.float32(actions), world.CONTINUOUS)))
    part.status.code = status
    return Sent(at, at, at + 1, reply.SerializeToString())


def test_frames_that_are_dropped_or_wrong_are_counted() -> None:
    # NPC 0 had revision 1; its revision 2 was asked for at 10 and acknowledged at 12.
    taught = [Taught(0, 10.0, 12.0, 2)]
    good = [sent(0, [1, 5], [0.1, 0.2]), sent(10.5, [2, 5], [0.3, 0.2]), sent(13, [2, 5], [0.3, 0.2])]
    assert figures.dropped(good, taught, 2) == 0
    for bad in (
        sent(13, [1, 5], [0.1, 0.2]),  # older than what was acknowledged
        sent(5, [2, 5], [0.3, 0.2]),  # before anybody had asked for it
        sent(13, [2, 6], [0.3, 0.2]),  # never asked for
        sent(13, [2, 5], [0.4, 0.2]),  # another action for the same revision and observation
        sent(13, [2], [0.3]),  # somebody is missing
        sent(13, [2, 5], [0.3, float("nan")]),
        sent(13, [2, 5], [0.3, 0.2], status=5),
        Sent(13, 13, 14, b""),
    ):
        assert figures.dropped([*good, bad], taught, 2) == 1


def test_the_floor_is_an_inner_loop_three_round_trips_and_one_write() -> None:
    assert figures.floor([Lesson(9.0, 1.0, 0.1, 0.5), Lesson(9.0, 3.0, 0.3, 0.7)]) == pytest.approx(2 + 0.6 + 0.6)


def test_other_systems_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(processor, "STAT", Path("/nowhere"))
    assert main(["bench", "serving"]) == 1
    assert "run it on Linux" in capsys.readouterr().err


def test_what_mlserver_is_asked_fits_the_model_that_it_serves(tmp_path: Path) -> None:
    archetype = measuring.make_archetype(tmp_path, "recorded")
    session = load_session(fill(make_template(archetype, ORT), begin_npc(archetype, "average")))
    request = inference_pb2.ModelInferRequest.FromString(mlserver.frame(3))
    types = {"FP32": np.float32, "BOOL": np.bool_}
    feeds = {
        entry.name: np.frombuffer(raw, types[entry.datatype]).reshape(entry.shape)
        for entry, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }
    assert set(feeds) == {entry.name for entry in session.get_inputs()}
    assert {len(value) for value in session.run(None, feeds)} == {3}
