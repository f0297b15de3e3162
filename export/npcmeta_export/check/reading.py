"""From the bytes of a file to `graphs.Model`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from npcmeta_export.check.graphs import BOOL, DOUBLE, FLOAT, INT32, INT64, Graph, Model, Node, Tensor, Value, elements
from npcmeta_export.check.wire import Fields, Payload, decode, varints

NUMBERS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
"""Where a tensor's elements are when they are not raw bytes."""


def read_model(data: Any) -> Model:
    """The model in the content of a file.

    Raises:
        WireError: If it is no ONNX file, damaged, or beyond the limits of `wire`.
    """
    fields = decode(data, onnx.ModelProto.DESCRIPTOR)
    graphs = fields.get("graph", [])
    opsets = fields.get("opset_import", [])
    return Model(
        _last(fields, "ir_version", 0),
        {_domain(_last(entry, "domain", "")): _last(entry, "version", 0) for entry in opsets},
        _last(fields, "producer_name", ""),
        {_last(entry, "key", ""): _last(entry, "value", "") for entry in fields.get("metadata_props", [])},
        tuple(_last(entry, "name", "") for entry in fields.get("functions", [])),
        _graph(graphs[-1]) if graphs else None,
        tuple(_second_files(fields)),
    )


def _last(fields: Fields, name: str, default: Any) -> Any:
    values = fields.get(name)
    return values[-1] if values else default


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _graph(fields: Fields) -> Graph:
    inputs, outputs, values = (
        tuple(_value(entry) for entry in fields.get(kind, [])) for kind in ("input", "output", "value_info")
    )
    return Graph(
        tuple(_node(entry) for entry in fields.get("node", [])),
        tuple(_tensor(entry) for entry in fields.get("initializer", [])),
        inputs,
        outputs,
        values,
        len(fields.get("sparse_initializer", [])),
    )


def _node(fields: Fields) -> Node:
    given = fields.get("attribute", [])
    graphs = [graph for entry in given for graph in (*entry.get("g", []), *entry.get("graphs", []))]
    return Node(
        _last(fields, "op_type", ""),
        _domain(_last(fields, "domain", "")),
        _last(fields, "name", ""),
        tuple(fields.get("input", [])),
        tuple(fields.get("output", [])),
        {_last(entry, "name", ""): _attribute(entry) for entry in given},
        tuple(_graph(graph) for graph in graphs),
    )


def _attribute(fields: Fields) -> Any:
    if "t" in fields:
        return _tensor(fields["t"][-1])
    if "ints" in fields:
        return tuple(number for part in fields["ints"] for number in _integers(part))
    if "floats" in fields:
        return tuple(number for part in fields["floats"] for number in _floats(part))
    if "s" in fields:
        text: Payload = fields["s"][-1]
        return (text.data or b"").decode(errors="replace")
    return next((fields[name][-1] for name in ("i", "f") if name in fields), None)


def _integers(part: int | Payload) -> list[int]:
    return [part] if isinstance(part, int) else varints(part.data or b"", signed=True)


def _floats(part: float | Payload) -> list[float]:
    if isinstance(part, Payload):
        data = part.data or b""
        return np.frombuffer(data[: len(data) // 4 * 4], "<f4").tolist()
    return [part]


def _tensor(fields: Fields) -> Tensor:
    dims = tuple(number for part in fields.get("dims", []) for number in _integers(part))
    raw: Payload | None = _last(fields, "raw_data", None)
    external = {_last(entry, "key", ""): _last(entry, "value", "") for entry in fields.get("external_data", [])}
    if _last(fields, "data_location", 0) == TensorProto.EXTERNAL:
        external.setdefault("location", "")
    held = raw.size if raw else sum(_held(part, 4 if name == "float_data" else 8) for name in NUMBERS
                                    for part in fields.get(name, []))  # fmt: skip
    kind = _last(fields, "data_type", 0)
    return Tensor(
        _last(fields, "name", ""), kind, dims, held, raw is not None, _values(fields, kind, dims, raw), external
    )


def _held(part: float | Payload, size: int) -> int:
    return part.size if isinstance(part, Payload) else size


def _values(fields: Fields, kind: int, dims: tuple[int, ...], raw: Payload | None) -> np.ndarray | None:
    """The elements of a small tensor of the types that engines read as scalars, axes and shapes."""
    types: dict[int, str] = {FLOAT: "<f4", DOUBLE: "<f8", INT32: "<i4", INT64: "<i8", BOOL: "?"}
    if kind not in types or any(size < 0 for size in dims) or len(dims) > 32:
        return None
    if raw is not None:
        numbers = None if raw.data is None else _elements(raw.data, types[kind])
    else:
        numbers = _typed(fields, kind, types[kind])
    return numbers.reshape(dims) if numbers is not None and numbers.size == elements(dims) else None


def _elements(data: bytes, kind: str) -> np.ndarray | None:
    whole = len(data) % np.dtype(kind).itemsize == 0
    return np.frombuffer(data, kind) if whole else None


def _typed(fields: Fields, kind: int, element: str) -> np.ndarray | None:
    names: dict[int, str] = {FLOAT: "float_data", DOUBLE: "double_data", INT64: "int64_data"}
    name = names.get(kind, "int32_data")
    found: list[float] = []
    for part in fields.get(name, []):
        if isinstance(part, Payload):
            if part.data is None:
                return None
            numbers = varints(part.data, signed=True) if "int" in name else _elements(part.data, element)
            if numbers is None:
                return None
            found.extend(numbers)
        else:
            found.append(part)
    with np.errstate(all="ignore"):
        return np.array(found).astype(element)


def _value(fields: Fields) -> Value:
    name, said = _last(fields, "name", ""), _last(fields, "type", {})
    tensor: Fields | None = _last(said, "tensor_type", None)
    if tensor is None:
        return Value(name, None, None)
    shape: Fields | None = _last(tensor, "shape", None)
    axes = None if shape is None else tuple(_axis(axis) for axis in shape.get("dim", []))
    return Value(name, _last(tensor, "elem_type", 0), axes)


def _axis(fields: Fields) -> int | str:
    size: int | None = _last(fields, "dim_value", None)
    return size if size is not None else _last(fields, "dim_param", "")


def _second_files(fields: Fields) -> Iterator[str]:
    """The places that tensors anywhere in a message name, in functions and training graphs as well."""
    if fields.get("external_data") or _last(fields, "data_location", 0) == TensorProto.EXTERNAL:
        entries = fields.get("external_data", [])
        places = [_last(entry, "value", "") for entry in entries if _last(entry, "key", "") == "location"]
        yield from places or [""]
    for values in fields.values():
        for value in values:
            if isinstance(value, dict):
                yield from _second_files(value)
