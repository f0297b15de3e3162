"""Clips: whatever a client sends or a disk returns is a clip in which everything fits, or a ServiceError."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from npcmeta_server import clips, tensors
from npcmeta_server.clips import Clip
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1.tensor_pb2 import BOOL, FLOAT32, INT32, INT64, Tensor
from npcmeta_server.limits import MAX_WEIGHT
from tests import toys
from tests.server import client
from tests.server.test_hostile import outcome

ROWS = 3
KINDS = list(toys.ACTIONS)
EDGES = [0.0, -0.0, 1.0, -1.0, 1.0002, 1e-45, 3e38, -3e38, np.nan, np.inf]


@st.composite
def tensors_almost_right(draw: st.DrawFn) -> Tensor:
    """Tensors that come closer than chance would: sizes and bytes mostly fit, values are those at the edges."""
    dtype = draw(st.sampled_from([FLOAT32, INT64, INT32, BOOL]))
    shape = draw(st.sampled_from([(ROWS,), (ROWS, 0), (0, 2), (ROWS, 2), (ROWS, 3), (ROWS, 5), (2, 2), ()]))
    size = int(np.prod(shape))
    if dtype == FLOAT32:
        values = np.array(draw(st.lists(st.sampled_from(EDGES), min_size=size, max_size=size)), "<f4")
    else:
        wide = st.integers(-1, 3) | st.sampled_from([-(1 << 31), (1 << 31) - 1])
        numbers = draw(st.lists(st.integers(0, 2) if dtype == BOOL else wide, min_size=size, max_size=size))
        values = np.array(numbers, tensors.DTYPES[dtype])
    data = values.tobytes()
    return Tensor(data_type=dtype, shape=shape, data=data[: len(data) - draw(st.sampled_from([0] * 9 + [1]))])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200, deadline=None)
@given(parts=st.dictionaries(st.sampled_from(Clip._fields), tensors_almost_right(), max_size=3))
def test_what_is_read_fits_its_archetype_and_the_rest_is_refused(kind: str, parts: dict[str, Tensor]) -> None:
    spec = toys.spec(kind)
    message = client.clip(spec, ROWS)
    for name, value in parts.items():
        getattr(message, name).CopyFrom(value)
    read = outcome(lambda: clips.read(message, spec, "guard"))
    if isinstance(read, ServiceError):
        assert read.reason == "INVALID_TENSOR"
        assert len(read.message) < 300
        return
    assert_fits(read, kind, ROWS)
    assert read.weights.any()
    assert (np.abs(read.continuous_actions) <= 1.001).all()
    start = 0
    for branch, size in enumerate(spec.action.branch_sizes):
        taken = read.discrete_actions[:, branch]
        assert ((taken >= 0) & (taken < size)).all()
        assert read.action_mask[np.arange(ROWS), start + taken].all()
        start += size


def assert_fits(clip: Clip, kind: str, rows: int) -> None:
    for name, found, expected in zip(Clip._fields, clip, clips.join([], toys.spec(kind)), strict=True):
        assert found.dtype == expected.dtype, name
        assert found.shape == (rows, *expected.shape[1:]), name
        assert np.isfinite(found).all(), name


def read(kind: str, rows: int = ROWS, seed: int = 0) -> Clip:
    return clips.read(client.clip(toys.spec(kind), rows, seed), toys.spec(kind), "guard")


def test_parts_that_an_archetype_does_not_have_may_come_empty() -> None:
    for kind, name, dtype in (("continuous", "discrete_actions", INT64), ("discrete", "continuous_actions", FLOAT32)):
        message = client.clip(toys.spec(kind), ROWS)
        getattr(message, name).CopyFrom(Tensor(data_type=dtype, shape=[ROWS, 0]))
        assert_fits(clips.read(message, toys.spec(kind), "guard"), kind, ROWS)


def test_values_at_the_edges_are_taken() -> None:
    message = client.clip(toys.spec("mixed"), 2)
    message.continuous_actions.CopyFrom(tensors.write(np.array([[-1, 1], [1.00005, 0]], np.float32)))
    message.weights.CopyFrom(tensors.write(np.array([0, clips.MAX_WEIGHT], np.float32)))
    found = clips.read(message, toys.spec("mixed"), "guard")
    assert found.weights.tolist() == [0, clips.MAX_WEIGHT]
    assert len(read("mixed", clips.MAX_EXAMPLES).weights) == clips.MAX_EXAMPLES
    clips.check_total(clips.MAX_EXAMPLES)


def test_no_rows_and_too_many_rows_are_refused() -> None:
    for rows, reason in ((0, "INVALID_TENSOR"), (clips.MAX_EXAMPLES + 1, "TOO_MANY")):
        with pytest.raises(ServiceError) as caught:
            read("mixed", rows)
        assert caught.value.reason == reason


def test_clips_are_joined_in_order_and_become_one_task_of_its_own_memory() -> None:
    first, second = read("mixed", 2, seed=1), read("mixed", 3, seed=2)
    joined = clips.join([first, second], toys.spec("mixed"))
    assert_fits(joined, "mixed", 5)
    np.testing.assert_array_equal(joined.observations, [*first.observations, *second.observations])
    examples = clips.to_examples(joined)
    assert examples.observation.shape == (1, 5, toys.OBSERVATION)
    assert (examples.action.discrete.dtype, examples.action_mask.dtype) == (torch.int64, torch.bool)
    examples.observation.zero_()
    assert joined.observations.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_comes_back_from_the_store_as_it_went(kind: str) -> None:
    went = read(kind)
    came = clips.from_bytes(clips.to_bytes(went), toys.spec(kind))
    for one, other in zip(came, went, strict=True):
        np.testing.assert_array_equal(one, other)


def from_damaged(data: bytes) -> Clip | None:
    found = outcome(lambda: clips.from_bytes(data, toys.spec("mixed")))
    if not isinstance(found, ServiceError):
        return found
    assert found.reason in ("STORE_UNAVAILABLE", "WRONG_ARCHETYPE")
    return None


def test_a_bit_that_flips_on_disk_gives_a_clip_that_fits_or_an_error_of_ours() -> None:
    whole = clips.to_bytes(read("mixed", 2))
    refused = 0
    for place in range(len(whole)):
        for bit in (1, 2, 16, 128):
            found = from_damaged(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            refused += found is None
            if found is not None:
                assert [len(array) for array in found] == [2] * 5
    assert refused > len(whole)


def test_a_clip_that_was_cut_off_is_refused_wherever_it_was_cut() -> None:
    whole = clips.to_bytes(read("mixed", 2))
    assert not any(from_damaged(whole[:size]) for size in range(len(whole)))


UNFIT: dict[str, Callable[[Clip], dict[str, np.ndarray]]] = {
    "a row too many": lambda clip: {"observations": np.zeros((ROWS + 1, 3), np.float32)},
    "a weight too few": lambda clip: {"weights": clip.weights[1:]},
    "whole numbers for observations": lambda clip: {"observations": np.zeros((ROWS, 3), np.int32)},
    "doubles": lambda clip: {"continuous_actions": clip.continuous_actions.astype(np.float64)},
    "fractions for choices": lambda clip: {"discrete_actions": clip.discrete_actions.astype(np.float32)},
    "bytes for booleans": lambda clip: {"action_mask": clip.action_mask.astype(np.uint8)},
    "a number for all weights": lambda clip: {"weights": np.array(1, np.float32)},
    "a number for all observations": lambda clip: {"observations": np.array(1, np.float32)},
}


@pytest.mark.parametrize("what", UNFIT)
def test_arrays_that_do_not_fit_together_are_a_damaged_demonstration(what: str) -> None:
    whole = read("mixed")
    arrays = whole._asdict() | UNFIT[what](whole)
    with pytest.raises(ServiceError, match="damaged demonstration") as caught:
        clips.from_bytes(save(arrays), toys.spec("mixed"))
    assert caught.value.reason == "STORE_UNAVAILABLE"


def test_every_choice_both_ends_of_the_range_and_the_largest_weight_are_taken() -> None:
    spec = toys.spec("mixed")
    choices = np.array(list(itertools.product(*map(range, spec.action.branch_sizes))), np.int64)
    message = client.clip(spec, len(choices))
    message.discrete_actions.CopyFrom(tensors.write(choices))
    ends = np.resize(np.array([-1.0, 1.0], np.float32), (len(choices), spec.action.continuous_size))
    message.continuous_actions.CopyFrom(tensors.write(ends))
    message.weights.CopyFrom(tensors.write(np.full(len(choices), MAX_WEIGHT, np.float32)))
    found = clips.read(message, spec, "guard")
    np.testing.assert_array_equal(found.discrete_actions, choices)
    np.testing.assert_array_equal(found.continuous_actions, ends)
    assert clips.weighted(found, 1.0).weights.max() == MAX_WEIGHT
