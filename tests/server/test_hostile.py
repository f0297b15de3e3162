"""Whatever a client puts into tensors, examples and names, it gets a ServiceError and nothing else."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
from google.rpc import error_details_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from npcmeta_server import clips, names, tensors
from npcmeta_server.errors import REASONS, ServiceError
from npcmeta_server.gen.npcmeta.v1 import tensor_pb2
from tests import toys
from tests.server.client import clip, info_of

R = TypeVar("R")
SPEC = toys.spec("mixed")
SIZES = st.integers(-3, 6) | st.sampled_from([1 << 31, 1 << 62, -(1 << 63), (1 << 63) - 1])
TENSORS = st.builds(
    tensor_pb2.Tensor,
    data_type=st.integers(0, 9),
    shape=st.lists(SIZES, max_size=4),
    data=st.binary(max_size=80) | st.integers(0, 40).map(bytes),
)
PARTS = ("observations", "continuous_actions", "discrete_actions", "action_mask", "weights")


def outcome(read: Callable[[], R]) -> R | ServiceError:
    """What a reader gives, or the error that it raises; any other error is a failure."""
    try:
        return read()
    except ServiceError as error:
        return error


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(PARTS), TENSORS))
def test_examples_of_any_kind_are_read_or_refused(parts: dict[str, tensor_pb2.Tensor]) -> None:
    message = clip(SPEC, 2)
    for name, value in parts.items():
        getattr(message, name).CopyFrom(value)
    read = outcome(lambda: clips.read(message, SPEC, "guard"))
    if isinstance(read, ServiceError):
        assert read.reason in ("INVALID_TENSOR", "TOO_MANY")
    else:
        assert np.isfinite(read.observations).all()
        assert clips.from_bytes(clips.to_bytes(read), SPEC).examples == read.examples


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=100) | st.from_regex(r"(npcs|archetypes)/[^/]{0,70}(/(assets|revisions)/.*)?", fullmatch=True))
def test_names_of_any_kind_are_read_or_refused(name: str) -> None:
    for read in (names.npc_id, names.archetype_id, names.demonstration, names.revision, names.asset):
        found = outcome(lambda read=read: read(name))
        if isinstance(found, ServiceError):
            assert found.reason == "INVALID_NAME"
            assert len(found.message) < 300
        else:
            assert "/../" not in str(found)
            assert "\0" not in str(found)


def test_examples_come_back_from_bytes_as_they_went() -> None:
    read = clips.read(clip(SPEC, 7), SPEC, "guard")
    again = clips.from_bytes(clips.to_bytes(read), SPEC)
    for one, other in zip(read, again, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ServiceError) as caught:
        clips.from_bytes(clips.to_bytes(read), toys.spec("discrete"))
    assert caught.value.reason == "WRONG_ARCHETYPE"


def test_more_examples_than_an_npc_may_have_are_refused_before_they_are_kept() -> None:
    with pytest.raises(ServiceError, match="expected at most 20000") as caught:
        clips.read(clip(SPEC, clips.MAX_EXAMPLES + 1), SPEC, "guard")
    assert caught.value.reason == "TOO_MANY"


def test_weights_that_count_for_nothing_or_for_everything_are_refused() -> None:
    for weights, message in ((np.zeros(2), "are all 0"), (np.full(2, 1e38), "expected 0 to 1e")):
        examples = clip(SPEC, 2)
        examples.weights.CopyFrom(tensors.write(weights.astype(np.float32)))
        with pytest.raises(ServiceError, match=message):
            clips.read(examples, SPEC, "guard")


def test_the_size_of_a_tensor_is_what_its_bytes_are_not_what_it_says() -> None:
    huge = tensor_pb2.Tensor(data_type=tensor_pb2.FLOAT32, shape=[1 << 60, 3], data=b"")
    with pytest.raises(ServiceError, match="holds 0 bytes"):
        tensors.observations(huge, SPEC, "guard")


def test_an_error_goes_over_the_wire_with_its_reason_and_facts() -> None:
    status = ServiceError("NPC_NOT_FOUND", "there is no npcs/bob", npc="bob", limit=3).status()
    info: error_details_pb2.ErrorInfo = info_of(status)
    assert (status.code, info.reason, info.domain) == (5, "NPC_NOT_FOUND", "npcmeta")
    assert dict(info.metadata) == {"npc": "bob", "limit": "3"}
    assert all(ServiceError(reason, "x").status().code == entry.code.value[0] for reason, entry in REASONS.items())
