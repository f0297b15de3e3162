"""`npcmeta adapt`: demonstrations in, an NPC file out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from npcmeta.archetype import Archetype, begin_npc, build_learner, load_npc, save_archetype
from npcmeta.evaluate import support_nll
from npcmeta.recordings.demo_writer import write_demo
from npcmeta.recordings.npz_writer import write_npz
from npcmeta.recordings.recording import cut
from npcmeta.tasks.timelines import as_examples
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_server.cli import main
from tests.npcmeta.recordings.plays import play
from tests.toys import assert_same_bits, small_settings

SPEC = BehaviorSpec(4, ActionSpec(1, (3, 2)), 10.0)
PLAY = play(40, continuous=1, episode=40)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def make_archetype(folder: Path, learner: str = "maml", **settings: object) -> Archetype:
    chosen = small_settings(learner, **settings)
    meta = chosen.build(SPEC).init(Generator().manual_seed(3))
    normaliser = Normaliser((0.1,) * 4, (1.5,) * 4)
    draft = Archetype("guard", "recorded", learner, chosen, SPEC, normaliser, {}, {}, meta)
    return save_archetype(draft, folder / "archetype.safetensors")


def adapt(folder: Path, *demonstrations: Path, out: str = "bob.npc", options: tuple[str, ...] = ()) -> int:
    return main(["adapt", str(folder), "--demo", *map(str, demonstrations), "--out", str(folder / out), *options])


@pytest.mark.parametrize("learner", ["bayes", "maml", "cnp", "finetune"])
def test_the_npc_is_what_the_inner_loop_makes_of_the_demonstrations(tmp_path: Path, learner: str) -> None:
    archetype = make_archetype(tmp_path, learner)
    write_npz(tmp_path / "clip.npz", PLAY)
    assert adapt(tmp_path, tmp_path / "clip.npz") == 0
    npc = load_npc(tmp_path / "bob.npc", archetype)
    built = build_learner(archetype)
    with torch.no_grad():
        expected = built.update(archetype.meta, begin_npc(archetype, "bob").state, as_examples(PLAY))
    assert_same_bits(npc.state, expected)
    assert (npc.name, npc.examples, npc.archetype_revision) == ("bob", 40, archetype.revision)


def test_what_is_said_of_the_demonstrations_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archetype = make_archetype(tmp_path)
    write_npz(tmp_path / "clip.npz", PLAY)
    assert adapt(tmp_path, tmp_path / "clip.npz") == 0
    said = capsys.readouterr().out
    built = build_learner(archetype)
    states = [begin_npc(archetype, "bob").state, load_npc(tmp_path / "bob.npc", archetype).state]
    before, after = (float(support_nll(built, archetype.meta, state, as_examples(PLAY))) for state in states)
    assert after < before
    assert f"40 examples; NLL went from {before:.4g} to {after:.4g} nats" in said
    assert [line for line in said.splitlines() if f"{before:.5g}" in line]
    assert "problem" not in said
    assert f"npcmeta export {tmp_path} --npc {tmp_path / 'bob.npc'} --target ort" in said


def test_files_of_both_kinds_are_read_in_the_order_they_are_given(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path)
    write_npz(tmp_path / "whole.npz", PLAY)
    write_npz(tmp_path / "z.npz", cut(PLAY, 0, 15))
    write_demo(tmp_path / "a.demo", cut(PLAY, 15, 40))
    assert adapt(tmp_path, tmp_path / "whole.npz") == 0
    assert adapt(tmp_path, tmp_path / "z.npz", tmp_path / "a.demo", out="Bob Two.npc") == 0
    whole, parts = (load_npc(tmp_path / name, archetype) for name in ("bob.npc", "Bob Two.npc"))
    assert_same_bits(parts.state, whole.state)
    assert parts.name == "bob-two"


def test_the_same_seed_and_demonstrations_give_the_same_file(tmp_path: Path) -> None:
    make_archetype(tmp_path)
    write_npz(tmp_path / "clip.npz", PLAY)
    for out in ("one.npc", "two.npc"):
        assert adapt(tmp_path, tmp_path / "clip.npz", out=out, options=("--name", "bob", "--seed", "7")) == 0
    assert (tmp_path / "one.npc").read_bytes() == (tmp_path / "two.npc").read_bytes()


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *demonstrations: Path, **more: object) -> str:
    """The error of a command that must fail, and must not leave an NPC behind."""
    assert adapt(folder, *demonstrations, **more) == 1  # type: ignore[arg-type]
    assert not (folder / "bob.npc").is_file()
    return capsys.readouterr().err


def test_what_cannot_be_adapted_to_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_archetype(tmp_path)
    clip, other, damaged = (tmp_path / name for name in ("clip.npz", "other.npz", "damaged.demo"))
    write_npz(clip, PLAY)
    write_npz(other, play(9, continuous=1, branches=(4, 2)))
    damaged.write_bytes(b"\x0cnothing like a demonstration at all")
    assert f"error: {other}: branch_sizes is (4, 2); expected (3, 2)" in refused(tmp_path, capsys, other)
    assert f"error: {damaged}: byte 0: the metadata" in refused(tmp_path, capsys, clip, damaged)
    assert "none.npz: cannot be read: No such file" in refused(tmp_path, capsys, tmp_path / "none.npz")
    assert 'name "Bob!": expected 1 to 63 of' in refused(tmp_path, capsys, clip, options=("--name", "Bob!"))
    for seed in (-1, 1 << 63):
        assert f"--seed is {seed}, expected 0 to " in refused(tmp_path, capsys, clip, options=("--seed", str(seed)))


def test_nothing_that_the_npc_is_made_from_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_archetype(tmp_path)
    write_npz(tmp_path / "clip.npz", PLAY)
    before = (tmp_path / "archetype.safetensors").read_bytes()
    for out in ("clip.npz", "archetype.safetensors"):
        assert "would overwrite what the NPC is made from" in refused(tmp_path, capsys, tmp_path / "clip.npz", out=out)
    assert (tmp_path / "archetype.safetensors").read_bytes() == before
    assert "is a folder; expected a file" in refused(tmp_path, capsys, tmp_path / "clip.npz", out=".")


def test_a_place_that_cannot_be_written_to_is_said_before_adapting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_archetype(tmp_path)
    write_npz(tmp_path / "clip.npz", PLAY)
    said = refused(tmp_path, capsys, tmp_path / "clip.npz", out="clip.npz/bob.npc")
    assert said == f"error: {tmp_path / 'clip.npz'}: File exists; a folder is expected there\n"
    os.mkfifo(tmp_path / "pipe")
    assert "pipe: a pipe or a device, and no file" in refused(tmp_path, capsys, tmp_path / "clip.npz", out="pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_an_inner_loop_that_diverges_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_archetype(tmp_path, inner_rate=1e9, hidden=(12, 12))
    write_npz(tmp_path / "clip.npz", PLAY)
    assert "adapting bob diverged: the NLL of the demonstrations is nan;" in refused(
        tmp_path, capsys, tmp_path / "clip.npz"
    )


def test_adapting_that_makes_it_worse_is_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_archetype(tmp_path, inner_rate=100.0)
    write_npz(tmp_path / "clip.npz", PLAY)
    assert adapt(tmp_path, tmp_path / "clip.npz") == 0
    assert "problem: adapting made it worse on the demonstrations themselves" in capsys.readouterr().out


def test_a_demonstration_of_another_spec_is_told_by_all_that_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_archetype(tmp_path)
    other = play(40, branches=(5,))
    np.savez(tmp_path / "clip.npz", observations=other.observations[:, :2], discrete_actions=other.discrete_actions)
    assert adapt(tmp_path, tmp_path / "clip.npz") == 1
    said = capsys.readouterr().err
    assert "clip.npz: observation_size is 2; expected 4, and continuous_size is 0; expected 1" in said
    assert "discrete_actions" not in said
