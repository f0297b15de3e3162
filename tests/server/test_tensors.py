"""Tensors of the wire: each way to be wrong has its own words, short ones, and what is right comes back as it went."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from npcmeta_server import clips, tensors
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import tensor_pb2
from npcmeta_server.gen.npcmeta.v1.tensor_pb2 import BOOL, FLOAT32, INT32, INT64, Tensor
from tests import toys
from tests.server.client import clip

SPEC = toys.spec("mixed")  # O 3, C 2, branches (3, 2)
MOST = (1 << 63) - 1
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def floats(*values: float, shape: tuple[int, ...]) -> Tensor:
    return Tensor(data_type=FLOAT32, shape=shape, data=np.array(values, "<f4").tobytes())


@given(arrays.arrays(np.float32, (5, 3), elements=FINITE))
def test_observations_come_back_as_they_went(values: np.ndarray) -> None:
    read = tensors.observations(tensors.write(values), SPEC, "guard")
    np.testing.assert_array_equal(read, values)
    turned = tensors.write(values.T)  # not contiguous
    np.testing.assert_array_equal(tensors.read(turned, "it", (FLOAT32,), (3, 5)), values.T)


WRONG = {
    "it is missing": Tensor(),
    r"it is INT64 \[2, 3\], expected FLOAT32 \[n, 3\]": Tensor(data_type=INT64, shape=[2, 3], data=bytes(48)),
    r"it is no known type \[2, 3\]": Tensor(data_type=77, shape=[2, 3], data=bytes(24)),  # type: ignore[arg-type]
    r"it is FLOAT32 \[6\], expected": floats(*range(6), shape=(6,)),
    r"it is FLOAT32 \[2, 3, 1\], expected": floats(*range(6), shape=(2, 3, 1)),
    r"it is FLOAT32 \[-2, 3\], expected": floats(*range(6), shape=(-2, 3)),
    r"it is FLOAT32 \[1, 1, 1, 1, 1, 1, 1, 1, ...\], expected": floats(1, shape=(1,) * 10_000),
    "it holds 23 bytes, expected 24": Tensor(data_type=FLOAT32, shape=[2, 3], data=bytes(23)),
    "it holds 25 bytes, expected 24": Tensor(data_type=FLOAT32, shape=[2, 3], data=bytes(25)),
    "it holds 0 bytes, expected 110680464442257309684": Tensor(data_type=FLOAT32, shape=[MOST, 3]),
    "it holds NaN or infinity in row 1": floats(1, 2, 3, 4, np.nan, 6, shape=(2, 3)),
    "it holds NaN or infinity in row 0": floats(-np.inf, 2, 3, shape=(1, 3)),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_with_a_tensor_is_said_in_a_line(message: str) -> None:
    with pytest.raises(ServiceError, match=message) as caught:
        tensors.read(WRONG[message], "it", (FLOAT32,), (None, 3))
    assert caught.value.reason == "INVALID_TENSOR"
    assert caught.value.metadata["field"] == "it"
    assert len(caught.value.message) < 200


def test_a_boolean_is_0_or_1() -> None:
    mask = Tensor(data_type=BOOL, shape=[1, 5], data=bytes([1, 0, 1, 255, 1]))
    with pytest.raises(ServiceError, match="holds 255 in row 0, expected 0 or 1"):
        tensors.action_mask(mask, SPEC, 1)


def test_a_mask_allows_something_in_every_branch_and_may_be_left_out() -> None:
    assert tensors.action_mask(None, SPEC, 4).all()
    mask = Tensor(data_type=BOOL, shape=[2, 5], data=bytes([1, 0, 0, 0, 1, 1, 1, 1, 0, 0]))
    with pytest.raises(ServiceError, match="allows nothing in branch 1 of row 1"):
        tensors.action_mask(mask, SPEC, 2)
    nothing = Tensor(data_type=BOOL, shape=[2, 0])
    assert tensors.action_mask(nothing, toys.spec("continuous"), 2).shape == (2, 0)


EXAMPLES: dict[str, dict[str, Tensor]] = {
    r"continuous_actions is FLOAT32 \[2, 3\], expected FLOAT32 \[2, 2\]": {
        "continuous_actions": floats(*[0] * 6, shape=(2, 3))
    },
    r"row 1 holds \[0.0, -1.5\], expected values in \[-1, 1\]": {
        "continuous_actions": floats(0, 0, 0, -1.5, shape=(2, 2))
    },
    r"row 0 is \[-1, 0\], expected less than \[3, 2\]": {
        "discrete_actions": tensors.write(np.array([[-1, 0], [0, 0]]))
    },
    r"row 1 is \[0, 2\], expected less than": {"discrete_actions": tensors.write(np.array([[0, 0], [0, 2]]))},
    r"discrete_actions is FLOAT32 \[2, 2\], expected INT64 or INT32": {
        "discrete_actions": floats(0, 0, 0, 0, shape=(2, 2))
    },
    "row 1 forbids the action that was taken": {
        "action_mask": Tensor(data_type=BOOL, shape=[2, 5], data=bytes([1] * 9 + [0]))
    },
    "weights row 0 holds -0.5": {"weights": floats(-0.5, 1, shape=(2,))},
    r"weights is FLOAT32 \[3\]": {"weights": floats(1, 1, 1, shape=(3,))},
    "observations have 4 values in a row": {"observations": floats(*range(8), shape=(2, 4))},
}


@pytest.mark.parametrize("message", EXAMPLES)
def test_what_is_wrong_with_examples_is_said_with_its_row(message: str) -> None:
    examples = clip(SPEC, 2)
    for name, value in EXAMPLES[message].items():
        getattr(examples, name).CopyFrom(value)
    with pytest.raises(ServiceError, match=message) as caught:
        clips.read(examples, SPEC, "guard")
    assert caught.value.reason == "INVALID_TENSOR"


def test_parts_that_an_archetype_does_not_have_may_be_left_out_and_others_may_not() -> None:
    walker = clips.read(clip(toys.spec("continuous"), 3), toys.spec("continuous"), "painter")
    assert (walker.discrete_actions.shape, walker.action_mask.shape) == ((3, 0), (3, 0))
    for kind, name in (("discrete", "discrete_actions"), ("continuous", "continuous_actions")):
        examples = clip(toys.spec(kind), 3)
        examples.ClearField(name)  # type: ignore[arg-type]
        with pytest.raises(ServiceError, match=f"{name} is missing"):
            clips.read(examples, toys.spec(kind), "x")


def test_small_integers_are_as_good_as_large_ones() -> None:
    examples, small = clip(SPEC, 4), clip(SPEC, 4)
    values = np.frombuffer(small.discrete_actions.data, "<i8").astype("<i4")
    small.discrete_actions.CopyFrom(tensor_pb2.Tensor(data_type=INT32, shape=[4, 2], data=values.tobytes()))
    for one, other in zip(clips.read(examples, SPEC, "x"), clips.read(small, SPEC, "x"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_clip_that_was_damaged_on_disk_is_an_error_of_the_store() -> None:
    data = clips.to_bytes(clips.read(clip(SPEC, 4), SPEC, "guard"))
    for damaged in (b"", b"garbage", data[:20], data[:-1], data.replace(b"weights", b"wEights")):
        with pytest.raises(ServiceError, match="damaged demonstration") as caught:
            clips.from_bytes(damaged, SPEC)
        assert caught.value.reason == "STORE_UNAVAILABLE"
