"""Every learner's archetypes and NPCs come back from disk as they went, to the bit."""

from pathlib import Path

import torch

from npcmeta import archetype as files
from npcmeta.archetype import Archetype, Npc
from npcmeta.types import Normaliser
from tests import toys
from tests.contract.cases import Case


def draft(case: Case) -> Archetype:
    normaliser = Normaliser((0.1, -0.2, 0.0), (1.0, 2.0, 0.5))
    return Archetype(
        f"guard-{case.kind}", "toy", case.name.partition("-")[0], case.settings, toys.spec(case.kind), normaliser,
        {"split": 0, "test": "others"}, {"seed": 1, "history": [[10, 0.5]]}, case.trained,
    )  # fmt: skip


def test_archetype_comes_back_to_the_bit(case: Case, tmp_path: Path) -> None:
    saved = files.save_archetype(draft(case), tmp_path / "archetype.safetensors")
    loaded = files.load_archetype(tmp_path / "archetype.safetensors")
    assert loaded._replace(meta={}) == saved._replace(meta={})
    assert loaded._replace(meta={}, revision="") == draft(case)._replace(meta={})
    toys.assert_same_bits(loaded.meta, case.trained)
    assert files.save_archetype(loaded, tmp_path / "again.safetensors").revision == saved.revision
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "archetype.safetensors").read_bytes()


def test_npc_comes_back_to_the_bit_and_plays_the_same(case: Case, tmp_path: Path) -> None:
    saved = files.save_archetype(draft(case), tmp_path / "archetype.safetensors")
    learner, task = files.build_learner(saved), toys.draw_task(case.kind, 1, 12)
    fresh = files.begin_npc(saved, "bob", seed=5)
    npc = fresh._replace(state=learner.update(saved.meta, fresh.state, task.support), examples=12)
    files.save_npc(npc, tmp_path / "bob.safetensors")
    archetype = files.load_archetype(tmp_path / "archetype.safetensors")
    loaded = files.load_npc(tmp_path / "bob.safetensors", archetype)
    assert loaded._replace(state={}) == npc._replace(state={})
    assert loaded == Npc("bob", saved.name, saved.revision, 12, 5, loaded.state)
    toys.assert_same_bits(loaded.state, npc.state)
    again = files.build_learner(archetype).predict(archetype.meta, loaded.state, task.query.observation)
    assert torch.equal(again, learner.predict(saved.meta, npc.state, task.query.observation))
    assert files.npc_to_bytes(loaded) == (tmp_path / "bob.safetensors").read_bytes()
