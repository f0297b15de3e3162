from pathlib import Path

import pytest
import torch
from torch import Generator

from npcmeta import archetype as files
from npcmeta import header
from npcmeta.archetype import Archetype
from npcmeta.types import BehaviorSpec, Normaliser
from tests import toys

NORMALISER = Normaliser((1.0, 0.0, -2.0), (2.0, 1.0, 0.5))


@pytest.fixture
def archetype() -> Archetype:
    chosen = toys.small_settings("maml")
    meta = chosen.build(toys.spec("mixed")).init(Generator().manual_seed(0))
    return Archetype("guard", "toy", "maml", chosen, toys.spec("mixed"), NORMALISER, {"test": []}, {"seed": 0}, meta)


def test_revision_changes_with_everything_that_is_saved(archetype: Archetype, tmp_path: Path) -> None:
    changed = dict(archetype.meta)
    changed["1.bias"] = changed["1.bias"] + 1e-7
    variants = [
        archetype,
        archetype._replace(name="rival"),
        archetype._replace(family="arena"),
        archetype._replace(settings=toys.small_settings("maml", inner_rate=0.2)),
        archetype._replace(spec=archetype.spec._replace(tick_rate_hz=20.0)),
        archetype._replace(normaliser=NORMALISER._replace(mean=(0.0, 0.0, 0.0))),
        archetype._replace(split={"test": ["a"]}),
        archetype._replace(provenance={"seed": 1}),
        archetype._replace(meta=changed),
    ]
    revisions = [files.save_archetype(each, tmp_path / "a.safetensors").revision for each in variants]
    assert len(set(revisions)) == len(variants)
    assert files.save_archetype(archetype, tmp_path / "b.safetensors").revision == revisions[0]


def test_a_digest_knows_shapes_and_number_formats() -> None:
    nothing = torch.zeros(2)
    alike = [nothing, nothing.reshape(1, 2), nothing.reshape(2, 1), nothing.to(torch.int32)]
    assert len({header.digest({}, {"a": each}) for each in alike}) == len(alike)


def test_what_was_saved_can_be_loaded(archetype: Archetype, tmp_path: Path) -> None:
    """Also where a caller wrote whole numbers, tuples and numeric keys that JSON knows only as something else."""
    spec = BehaviorSpec(3, archetype.spec.action, 10)
    odd = archetype._replace(spec=spec, split={10: ("a", "b"), 9: 1, "x": 2}, normaliser=Normaliser((0,) * 3, (1,) * 3))
    odd = odd._replace(split={str(k): v for k, v in odd.split.items()}, provenance={10: 1, 9: 2})
    saved = files.save_archetype(odd, tmp_path / "archetype.safetensors")
    loaded = files.load_archetype(tmp_path / "archetype.safetensors")
    assert loaded.revision == saved.revision
    assert loaded.spec == spec
    assert loaded.provenance == {"10": 1, "9": 2}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "The Guard", "expected 1 to 63 of"),
        ("normaliser", Normaliser((0.0,), (1.0,)), "normaliser mean is not a list of 3 numbers"),
        ("settings", toys.small_settings("maml", inner_rate=float("nan")), "setting inner_rate is nan"),
        ("spec", BehaviorSpec(0, toys.ACTIONS["mixed"], 10.0), "out of range"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(
    archetype: Archetype, tmp_path: Path, field: str, value: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        files.save_archetype(archetype._replace(**{field: value}), tmp_path / "archetype.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_npc_that_could_not_be_loaded_is_not_saved(archetype: Archetype, tmp_path: Path) -> None:
    npc = files.begin_npc(archetype, "bob", seed=-1)
    with pytest.raises(ValueError, match="seed is -1, expected 0 to "):
        files.save_npc(npc, tmp_path / "bob.npc")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(
    archetype: Archetype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "archetype.safetensors"
    saved = files.save_archetype(archetype, path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.save_archetype(archetype._replace(name="rival"), path)
    assert files.load_archetype(path).revision == saved.revision
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_learner_is_fed_with_raw_observations(archetype: Archetype) -> None:
    plain, learner = archetype.settings.build(archetype.spec), files.build_learner(archetype)
    task = toys.draw_task("mixed", 2, 5)
    mean, std = (torch.tensor(values) for values in NORMALISER)

    def standard(observation: torch.Tensor) -> torch.Tensor:
        return ((observation - mean) / std).clamp(-10, 10)

    support, query = (part._replace(observation=standard(part.observation)) for part in task)
    state = plain.update(archetype.meta, plain.begin(archetype.meta, 2, torch.zeros(2, 0)), support)
    raw = learner.update(archetype.meta, learner.begin(archetype.meta, 2, torch.zeros(2, 0)), task.support)
    toys.assert_same_bits(raw, state)
    toys.assert_same_bits(next(iter(learner.steps(archetype.meta, raw, task.support))), raw)
    expected = plain.predict(archetype.meta, state, query.observation)
    assert torch.equal(learner.predict(archetype.meta, raw, task.query.observation), expected)
    losses = [
        each.meta_loss(archetype.meta, part, Generator())[0]
        for each, part in ((plain, type(task)(support, query)), (learner, task))
    ]
    assert torch.equal(*losses)


def test_a_broken_sensor_cannot_throw_the_network_far(archetype: Archetype) -> None:
    learner = files.build_learner(archetype)
    state = files.begin_npc(archetype, "bob").state
    far, farther = (torch.full((1, 1, 3), value) for value in (1e6, 1e30))
    assert torch.equal(learner.predict(archetype.meta, state, far), learner.predict(archetype.meta, state, farther))


def test_state_noise_is_each_npcs_own(archetype: Archetype) -> None:
    learner = files.build_learner(archetype)._replace(noise_size=4)
    noise = files.draw_state_noise(learner, [7, 8, 7])
    assert noise.shape == (3, 4)
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(files.draw_state_noise(learner, [8])[0], noise[1])
    assert files.draw_state_noise(learner, []).shape == (0, 4)


def test_a_new_npc_knows_where_it_comes_from(archetype: Archetype, tmp_path: Path) -> None:
    saved = files.save_archetype(archetype, tmp_path / "archetype.safetensors")
    npc = files.begin_npc(saved, "bob", seed=3)
    assert npc[:5] == ("bob", "guard", saved.revision, 0, 3)
    assert all(value.shape[0] == 1 and value.is_contiguous() for value in npc.state.values())


def test_the_acting_part_of_an_npc_is_small_and_still_all_that_acts(archetype: Archetype) -> None:
    learned = toys.small_settings("bayes")
    meta = learned.build(toys.spec("mixed")).init(Generator().manual_seed(0))
    own = archetype._replace(learner_name="bayes", settings=learned, meta=meta)
    learner, whole = files.build_learner(own), files.begin_npc(own, "bob")
    part = files.acting_part(whole, learner)
    data = files.npc_to_bytes(part)
    assert len(data) < len(files.npc_to_bytes(whole)) / 2
    toys.assert_same_bits(files.npc_from_bytes(data, own, source="bob").state, part.state)
    toys.assert_same_bits(files.npc_from_bytes(data, own, source="bob", expected=part.state).state, part.state)
    with pytest.raises(files.ArchetypeFileError, match="tensors are"):
        files.npc_from_bytes(files.npc_to_bytes(whole), own, source="bob", expected=part.state)
