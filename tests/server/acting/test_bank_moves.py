"""A bank with states of two sizes, under calls in any order: who is held is never lost, and every byte is counted."""

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from npcmeta_server.acting.state_bank import StateBank
from npcmeta_server.errors import ServiceError

SIZES = {"old": 2, "new": 5}
MAX_BYTES = 4 * 4 * SIZES["old"]
NAMES, REVISIONS = st.sampled_from("abcdef"), st.sampled_from(sorted(SIZES))


def state(revision: str, value: float) -> dict[str, torch.Tensor]:
    return {"x": torch.full((1, SIZES[revision]), value)}


class Moves(RuleBasedStateMachine):
    """Puts, moves, renews, acquires, releases and removes; whoever is idle may give way at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.bank = StateBank(state("old", 0.0), MAX_BYTES, "old")
        self.bank.add_shelf("new", state("new", 0.0))
        self.known: dict[str, tuple[str, float]] = {}  # archetype revision and value, of those who were put
        self.held: list[tuple[str, int, str]] = []  # name, row, and the archetype revision of a deleted one; else empty
        self.calls = 0

    @rule(name=NAMES, revision=REVISIONS)
    def put(self, name: str, revision: str) -> None:
        if name in self.bank:
            return
        self.calls += 1
        try:
            self.bank.put(name, self.calls, 0, state(revision, self.calls), revision)
        except ServiceError:
            if not self.held:  # nobody is in the way
                raise
            return
        self.known[name] = revision, self.calls

    @rule(name=NAMES, revision=REVISIONS)
    def move(self, name: str, revision: str) -> None:
        self.calls += 1
        try:
            self.bank.check_move(name, revision)
        except ServiceError:
            if not self.held:  # nobody is in the way
                raise
            return
        resident = name in self.bank
        self.bank.renew(name, self.calls, state(revision, self.calls), revision)
        if resident:
            self.known[name] = revision, self.calls

    @rule(name=NAMES)
    def acquire(self, name: str) -> None:
        if (row := self.bank.acquire(name)) is not None:
            self.held.append((name, row, ""))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name, row, _ = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.bank.release([name], [row])

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        if name in self.bank:
            gone = self.known[name][0]
            self.held = [(n, row, was or (gone if n == name else "")) for n, row, was in self.held]
        self.bank.remove(name)

    @invariant()
    def nobody_who_is_held_is_lost_and_every_byte_is_counted(self) -> None:
        for name, row, deleted in self.held:
            if deleted:
                assert self.bank.revisions(np.array([row])).tolist() == [0]
                continue
            revision, value = self.known[name]
            assert name in self.bank
            assert self.bank.shelves(np.array([row])).tolist() == [self.bank.shelf_number(revision)]
            gathered = self.bank.gather(np.array([row]), revision)["state.x"]
            np.testing.assert_array_equal(gathered, np.full((1, SIZES[revision]), value, np.float32))
        residents = [self.known[name][0] for name in self.known if name in self.bank]
        dead = {row: deleted for _, row, deleted in self.held if deleted}
        assert self.bank.bytes == sum(4 * SIZES[revision] for revision in (*residents, *dead.values()))
        assert self.bank.bytes <= MAX_BYTES


TestMoves = Moves.TestCase
TestMoves.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_shelf_goes_with_its_idle_npcs_and_not_while_one_is_held() -> None:
    bank = StateBank(state("old", 0.0), MAX_BYTES, "old")
    bank.add_shelf("new", state("new", 0.0))
    bank.put("amy", 1, 0, state("old", 1.0), "old")
    bank.put("bob", 1, 0, state("old", 2.0), "old")
    row = bank.acquire("bob")
    assert row is not None
    assert not bank.remove_shelf("old")
    assert ("amy" in bank, "bob" in bank) == (False, True)
    bank.release(["bob"], [row])
    assert bank.remove_shelf("old")
    assert (len(bank), bank.bytes) == (0, 0)
    with pytest.raises(KeyError):
        bank.put("amy", 1, 0, state("old", 1.0), "old")


def test_where_states_of_a_later_revision_are_smaller_rows_run_out_before_bytes() -> None:
    bank = StateBank(state("new", 0.0), 2 * 4 * SIZES["new"], "new")
    bank.add_shelf("old", state("old", 0.0))  # of which five would fit
    for name in ("amy", "bob"):
        bank.put(name, 1, 0, state("old", 1.0), "old")
    rows = [bank.acquire(name) for name in ("amy", "bob")]
    with pytest.raises(ServiceError, match="--bank-mebibytes"):
        bank.put("eve", 1, 0, state("old", 1.0), "old")
    assert rows == [0, 1]
    bank.release(["amy"], [0])
    bank.put("eve", 1, 0, state("old", 1.0), "old")
    assert [name in bank for name in ("amy", "bob", "eve")] == [False, True, True]
