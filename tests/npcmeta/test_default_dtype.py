"""What a program lets torch draw in by default changes no character; where it would, an error says so."""

from pathlib import Path

import pytest
from torch import Generator

from npcmeta import archetype as files
from npcmeta import training
from npcmeta.archetype import Archetype
from npcmeta.outer_loop import OuterSettings
from npcmeta.types import Normaliser, Params, Task, TaskSplits
from tests import toys

KIND = "mixed"


def saved(path: Path, learner: str) -> Archetype:
    chosen, spec = toys.small_settings(learner), toys.spec(KIND)
    meta = chosen.build(spec).init(Generator().manual_seed(0))
    normaliser = Normaliser((0.0,) * spec.observation_size, (1.0,) * spec.observation_size)
    name = learner.partition("-")[0]
    return files.save_archetype(Archetype("guard", "toy", name, chosen, spec, normaliser, {}, {}, meta), path)


def life(path: Path, task: Task) -> tuple[bytes, list[Params]]:
    """An NPC's file after it was adapted, and what it then does with noise."""
    archetype = files.load_archetype(path)
    learner, npc = files.build_learner(archetype), files.begin_npc(archetype, "bob", seed=3)
    npc = npc._replace(state=learner.update(archetype.meta, npc.state, task.support))
    content = files.npc_to_bytes(npc)
    files.check_npc(files.read_npc(content, source="bob"), archetype, source="bob")
    params = learner.predict(archetype.meta, npc.state, task.query.observation)
    noise = learner.head.draw_noise(Generator().manual_seed(1), tuple(params.shape[:-1]))
    action = learner.head.sample(params, task.query.action_mask, noise)
    return content, [{"params": params}, action._asdict()]


@pytest.mark.parametrize(
    "learner", ["maml", "latent_np", "platipus", "matching", "bayes", "bayes-context", "bayes-tuned"]
)
def test_characters_are_the_same_in_a_program_of_doubles(
    tmp_path: Path, learner: str, request: pytest.FixtureRequest
) -> None:
    saved(tmp_path / "guard.safetensors", learner)
    task = toys.draw_task(KIND, 1, 12)
    content, actions = life(tmp_path / "guard.safetensors", task)
    request.getfixturevalue("program_of_doubles")
    again, repeated = life(tmp_path / "guard.safetensors", task)
    assert again == content
    for one, other in zip(actions, repeated, strict=True):
        toys.assert_same_bits(other, one)


def test_training_says_before_it_begins_that_its_archetype_could_not_be_loaded(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    draft, family = saved(tmp_path / "guard.safetensors", "maml"), toys.ToyFamily(KIND)
    request.getfixturevalue("program_of_doubles")
    splits = TaskSplits(family, family, family, {})
    with pytest.raises(ValueError, match=r"float64, expected torch.float32; call torch.set_default_dtype"):
        training.train(draft, splits, OuterSettings(), 0, tmp_path / "checkpoint", lambda outcome: None)
