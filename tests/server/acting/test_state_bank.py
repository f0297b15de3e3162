"""The state bank: rows stay where somebody acts from them, and the longest idle gives way."""

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from npcmeta_server.acting.state_bank import StateBank
from npcmeta_server.errors import ServiceError

EXAMPLE = {"sum": torch.zeros(1, 3), "count": torch.zeros(1, 1)}


def state(value: float) -> dict[str, torch.Tensor]:
    return {"sum": torch.full((1, 3), value), "count": torch.full((1, 1), -value)}


def filled(count: int, max_bytes: int = 1 << 20) -> StateBank:
    bank = StateBank(EXAMPLE, max_bytes)
    for i in range(count):
        bank.put(f"npc-{i}", 1, i, state(float(i)))
    return bank


def seen(bank: StateBank, *rows: int) -> list[float]:
    gathered = bank.gather(np.array(rows))
    np.testing.assert_array_equal(gathered["state.sum"][:, :1], -gathered["state.count"])
    return gathered["state.sum"][:, 0].tolist()


def test_npcs_that_come_one_after_another_lie_side_by_side_and_are_read_without_a_copy() -> None:
    bank = filled(5)
    rows = [bank.acquire(f"npc-{i}") for i in range(5)]
    assert rows == list(range(rows[0], rows[0] + 5))
    assert bank.gather(np.array(rows))["state.sum"].base is not None
    assert seen(bank, *rows) == [0, 1, 2, 3, 4]
    assert seen(bank, rows[3], rows[1], rows[3]) == [3, 1, 3]
    assert [bank.seed(row) for row in rows] == [0, 1, 2, 3, 4]


def test_a_new_revision_acts_from_the_same_row() -> None:
    bank = filled(3)
    row = bank.acquire("npc-1")
    bank.renew("npc-1", 7, state(9.0))
    bank.renew("nobody", 7, state(9.0))
    assert bank.acquire("npc-1") == row
    assert seen(bank, row) == [9]
    assert bank.revisions(np.array([row])).tolist() == [7]
    assert bank.seed(row) == 1
    assert "nobody" not in bank


def test_thousands_more_leave_everybody_where_they_are_and_nothing_is_copied_for_them() -> None:
    bank = filled(2)
    rows = np.array([bank.acquire("npc-0"), bank.acquire("npc-1")])
    before = bank.gather(rows)["state.sum"]
    for i in range(2, 10_000):
        bank.put(f"npc-{i}", 1, i, state(float(i)))
    assert np.shares_memory(bank.gather(rows)["state.sum"], before)
    assert [bank.acquire("npc-0"), bank.acquire("npc-1")] == rows.tolist()
    assert seen(bank, *rows) == [0, 1]
    assert len(bank) == 10_000


@pytest.mark.parametrize("max_bytes", [1 << 60, 1 << 80])
def test_a_bank_that_no_machine_can_hold_is_refused_with_what_to_do(max_bytes: int) -> None:
    with pytest.raises(ValueError, match="serve with a smaller --bank-mebibytes"):
        StateBank(EXAMPLE, max_bytes)


def test_the_longest_idle_gives_way_and_who_acts_stays() -> None:
    bank = filled(4, max_bytes=4 * 16)
    row = bank.acquire("npc-0")
    bank.put("new", 1, 9, state(9.0))
    assert [f"npc-{i}" in bank for i in range(4)] == [True, False, True, True]
    bank.acquire("npc-2")
    bank.release(["npc-2"], [bank.acquire("npc-2")])
    bank.put("newer", 1, 9, state(8.0))
    assert ["npc-2" in bank, "npc-3" in bank] == [True, False]
    assert seen(bank, row) == [0]


def test_a_full_bank_refuses_with_what_to_do() -> None:
    bank = filled(2, max_bytes=2 * 16)
    rows = [bank.acquire(f"npc-{i}") for i in range(2)]
    with pytest.raises(ServiceError, match="--bank-mebibytes") as caught:
        bank.put("new", 1, 0, state(0.0))
    assert caught.value.reason == "TOO_MANY"
    bank.release(["npc-1"], rows[1:])
    bank.put("new", 1, 0, state(5.0))
    assert bank.acquire("new") == rows[1]


def test_who_is_deleted_while_acting_leaves_revision_0_and_the_row_is_free_after_the_last_release() -> None:
    bank = filled(2, max_bytes=2 * 16)
    first, second = bank.acquire("npc-0"), bank.acquire("npc-0")
    bank.remove("npc-0")
    assert bank.revisions(np.array([first])).tolist() == [0]
    assert bank.acquire("npc-0") is None
    bank.acquire("npc-1")
    bank.release(["npc-0"], [first])
    with pytest.raises(ServiceError):
        bank.put("new", 1, 0, state(0.0))
    bank.release(["npc-0"], [second])
    bank.put("new", 1, 0, state(4.0))
    assert bank.acquire("new") == first
    bank.remove("npc-0")
    assert "new" in bank


def test_a_deleted_name_that_comes_back_is_another_npc() -> None:
    bank = filled(1)
    old = bank.acquire("npc-0")
    bank.remove("npc-0")
    bank.put("npc-0", 1, 5, state(6.0))
    new = bank.acquire("npc-0")
    assert new != old
    bank.release(["npc-0"], [old])
    assert seen(bank, new) == [6]
    assert bank.acquire("npc-0") == new


NAMES = st.sampled_from("abcdefg")
ROWS = 4


class AnyOrder(RuleBasedStateMachine):
    """A bank of four rows under calls in any order, and a plain model of what it has to hold."""

    def __init__(self) -> None:
        super().__init__()
        self.bank = StateBank(EXAMPLE, ROWS * 16)
        self.resident: dict[str, tuple[float, int]] = {}  # value and revision
        self.idle: list[str] = []  # the longest idle first
        self.held: list[tuple[str, int, bool]] = []  # name, row, and whether it lives
        self.calls = 0

    @rule(name=NAMES)
    def put(self, name: str) -> None:
        if name in self.resident:
            return
        self.calls += 1
        rows = {row for _, row, _ in self.held}
        if len(rows) == ROWS:
            with pytest.raises(ServiceError):
                self.bank.put(name, self.calls, 0, state(0.0))
            return
        if len(rows) + len(self.idle) == ROWS:
            del self.resident[self.idle.pop(0)]
        self.bank.put(name, self.calls, self.calls, state(float(self.calls)))
        self.resident[name] = float(self.calls), self.calls
        self.idle.append(name)

    @rule(name=NAMES)
    def renew(self, name: str) -> None:
        self.calls += 1
        self.bank.renew(name, self.calls, state(float(self.calls)))
        if name in self.resident:
            self.resident[name] = float(self.calls), self.calls

    @rule(name=NAMES)
    def acquire(self, name: str) -> None:
        row = self.bank.acquire(name)
        assert (row is not None) == (name in self.resident)
        if row is not None:
            self.held.append((name, row, True))
            self.idle = [other for other in self.idle if other != name]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name, row, lives = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.bank.release([name], [row])
        if lives and not any(other == row for _, other, _ in self.held):
            self.idle.append(name)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.bank.remove(name)
        self.resident.pop(name, None)
        self.idle = [other for other in self.idle if other != name]
        self.held = [(other, row, lives and other != name) for other, row, lives in self.held]

    @invariant()
    def the_bank_holds_what_the_model_holds(self) -> None:
        assert len(self.bank) == len(self.resident)
        assert all(name in self.bank for name in self.resident)
        for name, row, lives in self.held:
            value, revision = self.resident[name] if lives else (None, 0)
            assert self.bank.revisions(np.array([row])).tolist() == [revision]
            assert value is None or seen(self.bank, row) == [value]
        owners = {(row, name if lives else None) for name, row, lives in self.held}
        assert len(owners) == len({row for row, _ in owners})


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
