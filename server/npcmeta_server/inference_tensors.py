"""Tensors of the Open Inference Protocol: read into those of our own wire, and written from them."""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from npcmeta_server import tensors
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import tensor_pb2
from npcmeta_server.gen.open_inference import inference_pb2

MAX_SHOWN = 80
UNSUPPORTED = ("shared_memory_region", "classification")
"""Parameters of a tensor that ask for what this server does not do."""


class Datatype(NamedTuple):
    """A datatype of the protocol: what it is on our wire, and the field of typed contents that holds it."""

    kind: tensor_pb2.DataType
    contents: str


DATATYPES = {
    "FP32": Datatype(tensor_pb2.FLOAT32, "fp32_contents"),
    "INT64": Datatype(tensor_pb2.INT64, "int64_contents"),
    "BOOL": Datatype(tensor_pb2.BOOL, "bool_contents"),
}
NAMES = {entry.kind: name for name, entry in DATATYPES.items()}


class Input(NamedTuple):
    """An input tensor, and its raw bytes if it came with some."""

    tensor: inference_pb2.ModelInferRequest.InferInputTensor
    raw: bytes | None


def inputs(request: inference_pb2.ModelInferRequest, known: Sequence[str]) -> dict[str, Input]:
    """The input tensors of a request by name; raises INVALID_TENSOR for one that nobody knows, or that came twice."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise _wrong("inputs", f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs, expected one for each")
    found: dict[str, Input] = {}
    for index, tensor in enumerate(request.inputs):
        if tensor.name not in known or tensor.name in found:
            again = " came twice" if tensor.name in found else ""
            raise _wrong("inputs", f'input "{tensor.name[:MAX_SHOWN]}"{again}, expected {", ".join(known)} once each')
        refuse_unsupported(tensor.name, tensor.parameters)
        if raw and tensor.HasField("contents"):
            raise _wrong(tensor.name, f"{tensor.name} has contents beside raw_input_contents, expected one of them")
        found[tensor.name] = Input(tensor, raw[index] if raw else None)
    return found


def refuse_unsupported(name: str, parameters: Container[str]) -> None:
    """Raises INVALID_ARGUMENT where a tensor's parameters ask for what would silently be left out."""
    for wanted in UNSUPPORTED:
        if wanted in parameters:
            raise ServiceError(
                "INVALID_ARGUMENT",
                f'"{name[:MAX_SHOWN]}" asks for {wanted}, which is not supported; send and take the values themselves',
                field=name[:MAX_SHOWN],
            )


def read(given: Input, datatype: str) -> tensor_pb2.Tensor:
    """An input as a tensor of our wire, whose shape and bytes are still to be checked against each other."""
    tensor, kind = given.tensor, DATATYPES[datatype]
    _expect(tensor, datatype)
    data = given.raw
    if data is None:
        values = getattr(tensor.contents, kind.contents)
        data = np.array(values, tensors.DTYPES[kind.kind]).tobytes()
    return tensor_pb2.Tensor(data_type=kind.kind, shape=tensor.shape, data=data)


def read_names(given: Input) -> list[str]:
    """The texts of a BYTES tensor of one dimension, or of two the second of which is 1."""
    tensor = given.tensor
    _expect(tensor, "BYTES")
    values = list(_elements(tensor.name, given.raw)) if given.raw is not None else list(tensor.contents.bytes_contents)
    if list(tensor.shape) not in ([len(values)], [len(values), 1]):
        raise _wrong(tensor.name, f"{tensor.name} holds {len(values)} texts, expected as many as its shape says, [n]")
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise _wrong(tensor.name, f"{tensor.name} holds what is no UTF-8 text, expected names of NPCs") from error


def write(
    response: inference_pb2.ModelInferResponse, name: str, values: tensor_pb2.Tensor | np.ndarray, *, raw: bool
) -> None:
    """Adds an output: as raw bytes, or as typed contents for a client that sent such."""
    message = tensors.write(values) if isinstance(values, np.ndarray) else values
    datatype = NAMES[message.data_type]
    output = response.outputs.add(name=name, datatype=datatype, shape=message.shape)
    if raw:
        response.raw_output_contents.append(message.data)
    else:
        numbers = np.frombuffer(message.data, tensors.DTYPES[message.data_type])
        getattr(output.contents, DATATYPES[datatype].contents).extend(numbers.tolist())


def _expect(tensor: inference_pb2.ModelInferRequest.InferInputTensor, datatype: str) -> None:
    if tensor.datatype != datatype:
        raise _wrong(tensor.name, f'{tensor.name} is "{tensor.datatype[:MAX_SHOWN]}", expected {datatype}')


def _elements(name: str, raw: bytes) -> Iterator[bytes]:
    """The values of a BYTES tensor, each behind its length."""
    position = 0
    while position < len(raw):
        if len(raw) - position < 4:
            raise _wrong(name, f"{name} ends inside a length, expected four bytes of it before each text")
        (length,) = struct.unpack_from("<I", raw, position)
        position += 4 + length
        if position > len(raw):
            raise _wrong(name, f"{name} says {length} bytes of text where fewer are left")
        yield raw[position - length : position]


def _wrong(name: str, message: str) -> ServiceError:
    return ServiceError("INVALID_TENSOR", message, field=name)
