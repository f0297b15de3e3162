"""Inner loops in the adaptation process: batches, padding, progress, divergence, cancelling."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcmeta.archetype import Archetype, begin_npc, build_learner, npc_from_bytes
from npcmeta.evaluate import support_nll
from npcmeta_server.adapting import worker
from npcmeta_server.adapting.jobs import Adapted, AdaptJob, Answer, Dropped, ExportJob, Failed, Numbered, Progressed
from npcmeta_server.clips import Clip, read, to_examples
from tests import toys
from tests.server import client
from tests.server.conftest import ARCHETYPES, save


@pytest.fixture(scope="module")
def scout(tmp_path_factory: pytest.TempPathFactory) -> Archetype:
    return save("scout", tmp_path_factory.mktemp("archetypes"))


def clip(rows: int, seed: int = 0) -> Clip:
    whole = read(client.clip(toys.spec("discrete"), max(1, rows), seed), toys.spec("discrete"), "scout")
    return Clip(*(array[:rows] for array in whole))


def jobs(*rows: int, archetype: str = "scout") -> list[Numbered]:
    return [Numbered(i, AdaptJob(archetype, f"npc-{i}", i, clip(count, i))) for i, count in enumerate(rows)]


class Told:
    """Keeps what it is told; wants its jobs until it was asked as often as it may be."""

    def __init__(self, patience: int = 100) -> None:
        self.answers: defaultdict[int, list[Answer]] = defaultdict(list)
        self.patience = patience

    def tell(self, number: int, answer: Answer) -> None:
        self.answers[number].append(answer)

    def wanted(self, numbers: Iterable[int]) -> bool:
        self.patience -= 1
        return self.patience >= 0


def all_batches(waiting: list[Numbered]) -> list[list[Numbered]]:
    waiting = list(waiting)
    batches = []
    while waiting:
        batches.append(worker.take_batch(waiting))
    return batches


def run(archetype: Archetype, batch: list[Numbered]) -> dict[int, list[Answer]]:
    listener = Told()
    adapting = {entry.number: entry.job for entry in batch if isinstance(entry.job, AdaptJob)}
    worker.adapt(archetype, adapting, listener)
    return listener.answers


def test_a_batch_gives_each_npc_what_it_gets_alone(scout: Archetype) -> None:
    batch = jobs(1, 40, 7, 0)
    together = run(scout, batch)
    for entry in batch:
        alone = run(scout, [entry])[entry.number]
        assert [type(answer) for answer in together[entry.number]] == [type(answer) for answer in alone]
        found, expected = together[entry.number][-1], alone[-1]
        assert isinstance(found, Adapted)
        assert isinstance(expected, Adapted)
        one, other = (npc_from_bytes(a.data, scout, source="npc").state for a in (found, expected))
        toys.assert_close(one, other, 1e-5)
        assert (found.examples, found.support_nll) == (expected.examples, pytest.approx(expected.support_nll, abs=1e-5))


def weighted(kind: str, rows: int, seed: int) -> Clip:
    """A clip with choices that were forbidden, and examples that count more than others or not at all."""
    shown = toys.draw_task(kind, 1, rows, seed=seed).support
    weights = np.random.default_rng(seed).choice([0, 0.3, 1, 5], rows).astype(np.float32)
    tensors = (shown.observation, *shown.action, shown.action_mask)
    return Clip(*(tensor[0].numpy() for tensor in tensors), weights)


@pytest.mark.parametrize("name", ARCHETYPES)
def test_clips_of_any_length_weight_and_mask_are_adapted_to_together_as_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PROGRESS_SECONDS", 0.0)
    archetype, kind = save(name, tmp_path), ARCHETYPES[name][1]
    learner = build_learner(archetype)
    batch = [Numbered(i, AdaptJob(name, f"npc-{i}", i, weighted(kind, rows, i))) for i, rows in enumerate((1, 60, 9))]
    together = run(archetype, batch)
    for entry in batch:
        *found, end = together[entry.number]
        *expected, end_alone = run(archetype, [entry])[entry.number]
        assert isinstance(end, Adapted)
        assert isinstance(end_alone, Adapted)
        states = [npc_from_bytes(answer.data, archetype, source="npc").state for answer in (end, end_alone)]
        toys.assert_close(*states, 1e-5)
        for event, other in zip(found, expected, strict=True):
            assert isinstance(event, Progressed)
            assert isinstance(other, Progressed)
            np.testing.assert_allclose(event[:4], other[:4], rtol=1e-5, atol=1e-5)
        steps = int(learner.num_steps(worker.pad([entry.job.clip]).weight.sum(-1)))  # type: ignore[union-attr]
        assert [event[:2] for event in found] == [(step, steps) for step in range(steps + 1)]


def test_an_npc_that_leaves_the_finite_numbers_takes_nobody_along(scout: Archetype) -> None:
    batch = jobs(20, 4, 30)
    broken = batch[1].job.clip._replace(observations=np.full((4, 3), np.nan, np.float32))  # type: ignore[union-attr]
    batch[1] = Numbered(1, batch[1].job._replace(clip=broken))  # type: ignore[arg-type]
    told = run(scout, batch)
    end = told[1][-1]
    assert isinstance(end, Failed)
    assert (end.reason, "npc-1" in end.message) == ("ADAPTATION_DIVERGED", True)
    for number in (0, 2):
        found, expected = told[number][-1], run(scout, [batch[number]])[number][-1]
        assert isinstance(found, Adapted)
        assert isinstance(expected, Adapted)
        assert found.support_nll == pytest.approx(expected.support_nll, abs=1e-5)


def test_padding_counts_for_nothing_and_forbids_nothing() -> None:
    padded = worker.pad([clip(3), clip(0), clip(1)])
    assert padded.weight.tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert padded.action_mask[padded.weight == 0].all()
    assert not padded.observation[padded.weight == 0].any()


@pytest.mark.parametrize(("seconds", "heard"), [(0.0, [0, 1, 2, 3, 4, 5]), (1e9, [0, 5])])
def test_every_npc_hears_of_its_own_steps_not_too_often_and_then_of_its_end(
    seconds: float, heard: list[int], scout: Archetype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PROGRESS_SECONDS", seconds)
    told = run(scout, jobs(30, 0))
    steps = [[answer.step for answer in told[number] if isinstance(answer, Progressed)] for number in (0, 1)]
    assert steps == [heard, [0]]
    assert isinstance(told[0][-1], Adapted)
    assert isinstance(told[1][-1], Adapted)
    fresh = npc_from_bytes(told[1][-1].data, scout, source="npc").state
    toys.assert_same_bits(fresh, begin_npc(scout, "npc-1", seed=1).state)


def test_a_learner_that_can_says_how_well_it_knows_an_npc_and_how_many_more_examples_would_help(tmp_path: Path) -> None:
    shown = weighted(ARCHETYPES["warden"][1], 60, 0)
    parts = [Clip(*(array[:rows] for array in shown)) for rows in (0, 6, 60)]
    told = run(
        save("warden", tmp_path), [Numbered(i, AdaptJob("warden", "x", 0, part)) for i, part in enumerate(parts)]
    )
    ends = [told[number][-2] for number in range(len(parts))]
    known, more = zip(*((end.known, end.more_examples) for end in ends if isinstance(end, Progressed)), strict=True)
    assert 0 == known[0] < known[1] < known[2] < 1
    assert 0 == more[0] < more[1]


def test_batches_join_the_same_archetype_within_bounds_and_lose_nobody() -> None:
    waiting = [*jobs(5, 5), *jobs(5, archetype="guard"), Numbered(9, ExportJob("scout", "x", b"")), *jobs(9)]
    batches = [[entry.number for entry in batch] for batch in all_batches(waiting)]
    assert batches == [[0, 1, 0], [0], [9]]
    many = all_batches(jobs(*[10] * (worker.MAX_TASKS + 3)))
    assert [len(batch) for batch in many] == [worker.MAX_TASKS, 3]
    long = clip(10)._replace(weights=np.ones(worker.MAX_PADDED_EXAMPLES // 2, np.float32))
    bulky = [Numbered(i, AdaptJob("scout", "x", 0, long)) for i in range(3)]
    assert [len(batch) for batch in all_batches(bulky)] == [2, 1]


LENGTHS = st.sampled_from([0, 1, 10, 700, 5_000, worker.MAX_PADDED_EXAMPLES])
WAITING = st.lists(st.tuples(st.sampled_from(["scout", "guard", "export"]), LENGTHS), max_size=50)


@settings(deadline=None)
@given(WAITING)
def test_whatever_waits_is_done_once_in_order_and_within_bounds(wanted: list[tuple[str, int]]) -> None:
    empty = clip(0)
    waiting = [
        Numbered(i, ExportJob("scout", "x", b""))
        if what == "export"
        else Numbered(i, AdaptJob(what, "x", 0, empty._replace(weights=np.ones(length, np.float32))))
        for i, (what, length) in enumerate(wanted)
    ]
    batches = all_batches(waiting)
    assert sorted(entry.number for batch in batches for entry in batch) == list(range(len(waiting)))
    assert [batch[0].number for batch in batches] == sorted(batch[0].number for batch in batches)
    for batch in batches:
        assert [entry.number for entry in batch] == sorted(entry.number for entry in batch)
        assert len({wanted[entry.number][0] for entry in batch}) == 1
        assert len(batch) <= (1 if isinstance(batch[0].job, ExportJob) else worker.MAX_TASKS)
        longest = max(wanted[entry.number][1] for entry in batch)
        assert len(batch) == 1 or longest * len(batch) <= worker.MAX_PADDED_EXAMPLES


def test_a_state_that_is_not_finite_is_refused(scout: Archetype) -> None:
    broken = scout._replace(meta={key: value * 1e38 for key, value in scout.meta.items()})
    [answer] = [answer for answer in run(broken, jobs(5))[0] if not isinstance(answer, Progressed)]
    assert isinstance(answer, Failed)
    assert answer.reason == "ADAPTATION_DIVERGED"


def test_an_inner_loop_that_nobody_wants_any_more_ends_behind_its_step(
    scout: Archetype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PROGRESS_SECONDS", 0.0)
    listener = Told(patience=2)
    worker.adapt(scout, {7: AdaptJob("scout", "bob", 1, clip(20)), 8: AdaptJob("scout", "eve", 1, clip(5))}, listener)
    for number in (7, 8):
        *steps, end = listener.answers[number]
        assert [step.step for step in steps if isinstance(step, Progressed)] == [0, 1, 2]
        assert end == Dropped()


def test_what_is_held_out_judges_an_adapted_npc_and_does_not_teach_it(scout: Archetype) -> None:
    shown, held_out = clip(20, 1), clip(30, 2)
    batch = [
        Numbered(0, AdaptJob("scout", "x", 0, shown, held_out)),
        Numbered(1, AdaptJob("scout", "x", 0, shown)),
        Numbered(2, AdaptJob("scout", "x", 0, clip(5, 3), clip(7, 3))),
    ]
    judged, plain, _ = (found[-1] for found in run(scout, batch).values())
    assert isinstance(judged, Adapted)
    assert isinstance(plain, Adapted)
    learner = build_learner(scout)
    state = npc_from_bytes(plain.data, scout, source="x").state
    expected = support_nll(learner, scout.meta, state, to_examples(held_out))
    assert judged.held_out_nll == pytest.approx(float(expected), abs=1e-5)
    np.testing.assert_allclose(
        *(np.concatenate([a.ravel() for a in end.state.values()]) for end in (judged, plain)), atol=1e-5
    )
