"""Tensors of the wire to numpy arrays and back; everything is checked before it is believed."""

from __future__ import annotations

import math

import numpy as np

from npcmeta.types import BehaviorSpec
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import tensor_pb2

DTYPES: dict[int, np.dtype] = {
    tensor_pb2.FLOAT32: np.dtype("<f4"),
    tensor_pb2.INT64: np.dtype("<i8"),
    tensor_pb2.INT32: np.dtype("<i4"),
    tensor_pb2.BOOL: np.dtype("u1"),
}
MAX_SHOWN = 8
"""Sizes of a tensor that an error shows."""

CODES: dict[np.dtype, tensor_pb2.DataType] = {
    np.dtype(np.float32): tensor_pb2.FLOAT32,
    np.dtype(np.int64): tensor_pb2.INT64,
    np.dtype(bool): tensor_pb2.BOOL,
}


def read(message: tensor_pb2.Tensor, what: str, kinds: tuple[int, ...], shape: tuple[int | None, ...]) -> np.ndarray:
    """Reads a tensor whose type is one of `kinds` and whose shape is `shape` (None: any size).

    Raises:
        ServiceError: INVALID_TENSOR, saying what came and what was expected.
    """
    found = tuple(message.shape)
    if message.data_type not in kinds or not _fits(found, shape):
        raise _misshapen(message, what, kinds, shape)
    dtype = DTYPES[message.data_type]
    data = message.data  # a copy each time
    if len(data) != math.prod(found) * dtype.itemsize:
        raise _misshapen(message, what, kinds, shape)
    values = np.frombuffer(data, dtype).reshape(found)
    if dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise _wrong(what, f"{what} holds NaN or infinity in row {row}, expected finite numbers", row=row)
    if message.data_type == tensor_pb2.BOOL and (values > 1).any():
        row, value = int(np.argwhere(values > 1)[0][0]), int(values.max())
        raise _wrong(what, f"{what} holds {value} in row {row}, expected 0 or 1 in each byte", row=row)
    return values


def observations(message: tensor_pb2.Tensor, spec: BehaviorSpec, archetype: str, npc: str = "") -> np.ndarray:
    """Reads observations [n, O] for an archetype; `npc` is one of those who saw them, for the error's text."""
    size = spec.observation_size
    if len(message.shape) == 2 and message.shape[1] != size:
        raise ServiceError(
            "INVALID_TENSOR",
            f'observations have {message.shape[1]} values in a row, archetype "{archetype}" expects {size}; '
            f"check the sensors{f' of npcs/{npc}' if npc else ''}",
            field="observations",
            expected=size,
            found=message.shape[1],
        )
    return read(message, "observations", (tensor_pb2.FLOAT32,), (None, size))


def action_mask(message: tensor_pb2.Tensor | None, spec: BehaviorSpec, rows: int) -> np.ndarray:
    """Reads an action mask [rows, W]; an absent one allows everything. Every branch must allow something."""
    width = spec.action.mask_size
    if message is None:
        return np.ones((rows, width), bool)
    mask = read(message, "action_mask", (tensor_pb2.BOOL,), (rows, width)) != 0
    check_mask(mask, spec)
    return mask


def check_mask(mask: np.ndarray, spec: BehaviorSpec) -> None:
    """Raises INVALID_TENSOR where a branch allows nothing in a row of an action mask [rows, W]."""
    start = 0
    for branch, size in enumerate(spec.action.branch_sizes):
        empty = ~mask[:, start : start + size].any(1)
        if empty.any():
            row = int(empty.argmax())
            raise _wrong("action_mask", f"action_mask allows nothing in branch {branch} of row {row}", row=row)
        start += size


def write(values: np.ndarray, into: tensor_pb2.Tensor | None = None) -> tensor_pb2.Tensor:
    """An array on the wire: a message of its own, or a part of another, which then need not be copied."""
    message = tensor_pb2.Tensor() if into is None else into
    message.data_type, message.data = CODES[values.dtype], values.tobytes()  # in order, however the array lies
    message.shape.extend(values.shape)
    return message


def _misshapen(
    message: tensor_pb2.Tensor, what: str, kinds: tuple[int, ...], shape: tuple[int | None, ...]
) -> ServiceError:
    """What to answer to a tensor of another type, shape or size; only then are there words to be put together."""
    if message.data_type == tensor_pb2.DATA_TYPE_UNSPECIFIED and not message.shape and not message.data:
        return _wrong(what, f"{what} is missing, or has no data_type")
    found = tuple(message.shape)
    shown = f"[{', '.join([str(size) for size in found[:MAX_SHOWN]] + ['...'] * (len(found) > MAX_SHOWN))}]"
    names = " or ".join(tensor_pb2.DataType.Name(kind) for kind in kinds)
    wanted = f"{names} [{', '.join('n' if size is None else str(size) for size in shape)}]"
    if message.data_type not in kinds or not _fits(found, shape):
        kind = tensor_pb2.DataType.Name(message.data_type) if message.data_type in DTYPES else "no known type"
        return _wrong(what, f"{what} is {kind} {shown}, expected {wanted}")
    expected = math.prod(found) * DTYPES[message.data_type].itemsize
    return _wrong(what, f"{what} holds {len(message.data)} bytes, expected {expected} for {wanted} of {shown}")


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(f >= 0 and s in (None, f) for s, f in zip(shape, found, strict=True))


def _wrong(what: str, message: str, **metadata: object) -> ServiceError:
    return ServiceError("INVALID_TENSOR", message, field=what, **metadata)
