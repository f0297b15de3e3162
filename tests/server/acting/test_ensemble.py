"""Two revisions of an archetype act beside each other: each NPC as with its own revision alone, wherever it moves."""

from pathlib import Path

import numpy as np
import pytest

from npcmeta.archetype import begin_npc
from npcmeta_server import catalog
from npcmeta_server.acting.ensemble import Ensemble
from npcmeta_server.acting.policy import Frame, Policy
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from tests.server.acting.test_policy import assert_same, frame, part
from tests.server.conftest import save


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Hosted, Hosted]:
    def host(folder: Path, seed: int) -> Hosted:
        save("guard", folder, seed)
        return catalog.host(folder / "guard.safetensors")

    old, new = (host(tmp_path_factory.mktemp("archetypes"), seed) for seed in (1, 2))
    return old, new


def put(ensemble: Ensemble, npc: str, hosted: Hosted, seed: int = 0) -> int:
    state = begin_npc(hosted.archetype, npc, seed=seed).state
    ensemble.bank.put(npc, 1, seed, state, hosted.archetype.revision)
    row = ensemble.bank.acquire(npc)
    assert row is not None
    return row


def test_a_frame_of_both_revisions_is_each_of_them_alone_in_the_order_asked(both: tuple[Hosted, Hosted]) -> None:
    mixed = Ensemble(both, 1 << 20)
    rows = np.array([put(mixed, f"npc-{i}", both[i % 2], i) for i in range(10)])
    alone = [Ensemble([hosted], 1 << 20) for hosted in both]
    own = [put(alone[i % 2], f"npc-{i}", both[i % 2], i) for i in range(10)]
    for order in (np.arange(10), np.arange(10)[::-1], np.array([3, 3, 4, 1]), np.array([2, 4]), np.array([5])):
        whole = frame(rows[order])
        expected = []
        for at, i in enumerate(order):
            one = part(whole, slice(at, at + 1))
            expected += alone[i % 2].act([one._replace(rows=np.array([own[i]]))])
        assert_same(mixed.act([whole])[0], expected)
        for found, each in zip(mixed.act([whole, part(whole, slice(0, 1))]), (whole, whole), strict=True):
            assert_same(found, mixed.act([part(each, slice(0, len(found.revisions)))]))
    assert len(mixed.act([frame(rows[:0])])[0].revisions) == 0


def test_who_moves_acts_with_the_other_revision_from_the_next_frame_on(both: tuple[Hosted, Hosted]) -> None:
    old, new = both
    mixed = Ensemble([old], 1 << 20)
    rows = np.array([put(mixed, f"npc-{i}", old) for i in range(3)])
    [before] = mixed.act([frame(rows)])
    mixed.add(Policy(new, mixed.bank))
    assert_same(mixed.act([frame(rows)])[0], [before])
    mixed.check_move("npc-1", new.archetype.revision)
    mixed.renew("npc-1", 2, begin_npc(new.archetype, "npc-1").state, new.archetype.revision)
    [after] = mixed.act([frame(rows)])
    assert after.revisions.tolist() == [1, 2, 1]
    reference = Ensemble([new], 1 << 20)
    at = np.array([put(reference, "npc-1", new)])
    [expected] = reference.act([Frame(at, *part(frame(rows), slice(1, 2))[1:])])
    np.testing.assert_allclose(after.continuous[1], expected.continuous[0], atol=1e-6)
    np.testing.assert_array_equal(after.continuous[[0, 2]], before.continuous[[0, 2]])
    assert not np.allclose(after.continuous[1], before.continuous[1])


def test_a_revision_goes_only_when_nobody_acts_with_it(both: tuple[Hosted, Hosted]) -> None:
    old, new = both
    mixed = Ensemble(both, 1 << 20)
    row = put(mixed, "amy", old)
    mixed.remove(old.archetype.revision)
    assert mixed.revisions == [old.archetype.revision, new.archetype.revision]
    mixed.bank.release(["amy"], [row])
    mixed.remove(old.archetype.revision)
    assert mixed.revisions == [new.archetype.revision]
    assert (len(mixed.bank), mixed.bank.bytes) == (0, 0)
    assert mixed.act([frame(np.array([put(mixed, "bob", new)]))])[0].revisions.tolist() == [1]


def test_memory_is_counted_exactly_for_both_and_a_move_that_does_not_fit_is_refused_before_it(
    both: tuple[Hosted, Hosted],
) -> None:
    old, new = both
    wide = new._replace(first_state={key: value.repeat(1, 3) for key, value in new.first_state.items()})
    mixed = Ensemble([old], 4 * old.state_bytes)
    mixed.bank.add_shelf("wide", wide.first_state)
    rows = [put(mixed, name, old) for name in ("amy", "bob")]
    mixed.bank.check_move("amy", "wide")
    mixed.bank.renew("amy", 2, wide.first_state, "wide")
    assert mixed.bank.bytes == 4 * old.state_bytes
    with pytest.raises(ServiceError, match="--bank-mebibytes"):
        mixed.bank.check_move("bob", "wide")
    mixed.bank.release(["amy"], rows[:1])
    mixed.bank.check_move("bob", "wide")  # the one who is idle gave way
    mixed.bank.renew("bob", 2, wide.first_state, "wide")
    assert ("amy" in mixed.bank, len(mixed.bank), mixed.bank.bytes) == (False, 1, 3 * old.state_bytes)
    np.testing.assert_array_equal(mixed.bank.gather(np.array(rows[1:]), "wide")["state.sum"], wide.first_state["sum"])
