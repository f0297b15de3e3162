"""A group: whatever is added and removed, an index finds the NPC that has it now."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcmeta_server.casting.group import Deciding, Group, read_frame
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import tensor_pb2
from npcmeta_server.seating import Acting
from npcmeta_server.tensors import write
from tests.server.acting.test_policy import hosted as hosted
from tests.server.client import observations

INDEX = st.integers(0, 12) | st.sampled_from([999_998, 999_999])


def acting(row: int) -> Acting:
    return Acting(f"n{row}", row, (1 << 64) - 1 - row)


@given(st.lists(st.tuples(st.booleans(), st.lists(INDEX, max_size=5)), max_size=8))
def test_a_group_is_a_dictionary_of_its_members(changes: list[tuple[bool, list[int]]]) -> None:
    group, expected, row = Group(None), {}, 0  # type: ignore[arg-type, var-annotated]
    held: list[Acting] = []
    for adds, indices in changes:
        if adds:
            new = [(index, acting(row := row + 1)) for index in indices]
            held += [entry for _, entry in new]
            gone = group.add(new)
            expected |= dict(new)
        elif all(index in expected for index in indices):
            gone = group.remove(indices)
            assert gone == [expected.pop(index) for index in dict.fromkeys(indices)]
        else:
            with pytest.raises(ServiceError, match="not in the group's cast"):
                group.remove(indices)
            gone = []
        for entry in gone:
            held.remove(entry)
        check(group, expected)
    assert sorted(held) == sorted(expected.values())
    assert sorted(group.clear()) == sorted(held)
    assert len(group) == 0


def check(group: Group, expected: dict[int, Acting]) -> None:
    assert group.indices == sorted(expected)
    order = list(expected) * 2
    found = group.find(order)
    assert found.rows.tolist() == [expected[index].row for index in order]
    assert found.seeds.tolist() == [expected[index].seed for index in order]
    for index in {*range(14), 1_000_000, (1 << 32) - 1} - set(expected):
        with pytest.raises(ServiceError) as caught:
            group.find([*order, index])
        assert (caught.value.reason, caught.value.metadata) == ("NOT_IN_CAST", {"index": str(index)})


def test_a_frame_is_checked_against_the_spec_and_the_number_of_npcs(hosted: Any) -> None:
    deciding = Deciding(["bob"], np.arange(3), np.arange(3, dtype=np.uint64))
    seen, allowed = write(observations(3)), tensor_pb2.Tensor(data_type=tensor_pb2.BOOL, shape=[3, 5], data=b"\1" * 15)
    frame = read_frame(hosted, deciding, seen, allowed, None)
    assert not frame.noise.any()
    drawn = read_frame(hosted, deciding, seen, None, 5)
    assert (drawn.noise != read_frame(hosted, deciding, seen, None, 6).noise).any()
    np.testing.assert_array_equal(drawn.action_mask, frame.action_mask)
    nothing = tensor_pb2.Tensor(data_type=tensor_pb2.BOOL, shape=[3, 5], data=b"\1" * 13 + b"\0" * 2)
    for shown, mask, message in (
        (write(observations(2)), None, "observations have 2 rows, expected 3"),
        (write(observations(3)[:, :2]), None, "check the sensors of npcs/bob"),
        (seen, nothing, "allows nothing in branch 1 of row 2"),
        (seen, write(np.ones((3, 5), np.int64)), r"action_mask is INT64 \[3, 5\], expected BOOL \[3, 5\]"),
    ):
        with pytest.raises(ServiceError, match=message):
            read_frame(hosted, deciding, shown, mask, None)
