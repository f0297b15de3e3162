"""A policy at work: a run of many NPCs is each of them alone, however the frames came and however large they are."""

import numpy as np
import pytest
import torch

from npcmeta.archetype import begin_npc, build_learner
from npcmeta_server import catalog
from npcmeta_server.acting import noise
from npcmeta_server.acting.ensemble import Ensemble
from npcmeta_server.acting.policy import Decisions, Frame
from npcmeta_server.adapting import worker
from npcmeta_server.catalog import Hosted
from npcmeta_server.clips import read, to_examples
from tests.server.client import clip, observations
from tests.server.conftest import save

NPCS = 20


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Hosted:
    folder = tmp_path_factory.mktemp("archetypes")
    save("guard", folder)
    return catalog.host(folder / "guard.safetensors")


@pytest.fixture
def guards(hosted: Hosted) -> tuple[Ensemble, np.ndarray]:
    """A policy with NPCs that differ, and their rows in the bank."""
    made, learner = Ensemble([hosted], 1 << 24), build_learner(hosted.archetype)
    for i in range(NPCS):
        state = begin_npc(hosted.archetype, "guard", seed=i).state
        shown = read(clip(hosted.archetype.spec, 1 + i, i), hosted.archetype.spec, "guard")
        adapted = learner.update(hosted.archetype.meta, state, to_examples(shown))
        made.bank.put(f"npc-{i}", i + 1, i, adapted, hosted.archetype.revision)
    rows = [made.bank.acquire(f"npc-{i}") for i in range(NPCS)]
    return made, np.array(rows)


def frame(rows: np.ndarray, seed: int = 0, number: int = 1) -> Frame:
    mask = np.random.default_rng(seed).random((len(rows), 5)) > 0.4
    mask[:, [2, 4]] = True
    return Frame(rows, observations(len(rows), seed), mask, noise.draw(rows.astype(np.uint64), number, 2, 5))


def part(whole: Frame, at: slice) -> Frame:
    return Frame(*(array[at] for array in whole))


def assert_same(found: Decisions, expected: list[Decisions]) -> None:
    for one, others in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(one, np.concatenate(others), atol=1e-6)


def test_a_batch_of_npcs_decides_as_each_alone_in_any_order(guards: tuple[Ensemble, np.ndarray]) -> None:
    made, rows = guards
    for order in (rows, rows[::-1], np.random.default_rng(0).permutation(rows), np.repeat(rows[3:5], 4)):
        whole = frame(order)
        [together] = made.act([whole])
        alone = [made.act([part(whole, slice(i, i + 1))])[0] for i in range(len(order))]
        assert_same(together, alone)
        np.testing.assert_array_equal(together.revisions, order - rows[0] + 1)
        assert whole.action_mask[np.arange(len(order)), together.discrete[:, 0]].all()
    assert len(np.unique(made.act([frame(rows)])[0].continuous[:, 0])) > NPCS // 2


def test_frames_that_are_joined_get_what_they_get_alone(guards: tuple[Ensemble, np.ndarray]) -> None:
    made, rows = guards
    frames = [frame(rows[:1], 1), frame(rows[2:9], 2), frame(rows[::-3], 3)]
    for found, each in zip(made.act(frames), frames, strict=True):
        assert_same(found, made.act([each]))


def test_a_frame_that_takes_several_runs_is_decided_as_one(
    guards: tuple[Ensemble, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rows = guards
    [expected] = made.act([frame(rows)])
    [acting] = made._policies.values()
    monkeypatch.setattr(acting, "_rows_of_a_run", 7)
    assert_same(made.act([frame(rows)])[0], [expected])
    monkeypatch.setattr(acting, "_rows_of_a_run", 1)
    assert_same(made.act([frame(rows)])[0], [expected])


def test_a_new_state_acts_from_the_next_frame_on_and_nobody_else_changes(
    hosted: Hosted, guards: tuple[Ensemble, np.ndarray]
) -> None:
    made, rows = guards
    [before] = made.act([frame(rows)])
    made.bank.renew("npc-4", 99, begin_npc(hosted.archetype, "npc-4").state, hosted.archetype.revision)
    made.bank.remove("npc-7")
    [after] = made.act([frame(rows)])
    changed = np.abs(after.continuous - before.continuous).max(1) > 1e-6
    assert np.flatnonzero(changed).tolist() == [4]
    assert (after.revisions[4], after.revisions[7], after.revisions[8]) == (99, 0, 9)


def test_others_who_come_change_nobody(hosted: Hosted, guards: tuple[Ensemble, np.ndarray]) -> None:
    made, rows = guards
    [before] = made.act([frame(rows)])
    state = begin_npc(hosted.archetype, "other").state
    for i in range(1000):
        made.bank.put(f"other-{i}", 1, 0, state, hosted.archetype.revision)
    assert_same(made.act([frame(rows)])[0], [before])


def test_what_the_adaptation_process_makes_acts_as_torch_says(hosted: Hosted) -> None:
    archetype, learner = hosted.archetype, build_learner(hosted.archetype)
    shown = read(clip(archetype.spec, 30), archetype.spec, "guard")
    state = learner.update(archetype.meta, begin_npc(archetype, "x", seed=5).state, worker.pad([shown]))
    made = Ensemble([hosted], 1 << 20)
    made.bank.put("x", 2, 5, state, archetype.revision)
    seen = observations(1)
    still = Frame(np.array([made.bank.acquire("x")]), seen, np.ones((1, 5), bool), np.zeros((1, 7), np.float32))
    params = learner.predict(archetype.meta, state, torch.from_numpy(seen)[None])
    expected = learner.head.mode(params, torch.ones(1, 1, 5, dtype=torch.bool))
    np.testing.assert_allclose(made.act([still])[0].continuous, expected.continuous[0].detach(), atol=1e-5)
    np.testing.assert_array_equal(made.act([still])[0].discrete, expected.discrete[0])
