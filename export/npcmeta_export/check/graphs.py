"""An ONNX model as the checks see it: names, types, shapes and small constants, no weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto

from npcmeta_export.check.wire import Fields, Payload, decode, varints

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
INT32, INT64, BOOL = TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL
BITS: dict[int, int] = {
    TensorProto.FLOAT: 32, TensorProto.UINT8: 8, TensorProto.INT8: 8, TensorProto.UINT16: 16, TensorProto.INT16: 16,
    TensorProto.INT32: 32, TensorProto.INT64: 64, TensorProto.BOOL: 8, TensorProto.FLOAT16: 16, TensorProto.DOUBLE: 64,
    TensorProto.UINT32: 32, TensorProto.UINT64: 64, TensorProto.COMPLEX64: 64, TensorProto.COMPLEX128: 128,
    TensorProto.BFLOAT16: 16,
}  # fmt: skip
"""Bits of an element, of the types whose size is fixed here; small floats and half bytes are left alone."""
NUMBERS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


class Tensor(NamedTuple):
    """A tensor stored in the file."""

    name: str
    kind: int  # onnx.TensorProto.DataType
    dims: tuple[int, ...]
    held: int  # bytes of its payload in the file
    raw: bool  # whether these are the elements as they stand in memory
    values: np.ndarray | None  # if it is small
    external: dict[str, str]  # where else its payload is, if it is elsewhere

    @property
    def size(self) -> int:
        """Elements, as declared."""
        return elements(self.dims)


def elements(dims: tuple[int, ...]) -> int:
    """How many elements a shape has; a hostile one has so many axes that their product alone would take minutes."""
    return math.prod(dims[:64])


class Value(NamedTuple):
    """A named value that flows through a graph."""

    name: str
    kind: int | None  # onnx.TensorProto.DataType, none for what is no tensor
    shape: tuple[int | str, ...] | None  # a text is a dynamic axis; none if nothing is said


class Node(NamedTuple):
    """An operation."""

    operator: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]  # numbers, texts, tuples of numbers, tensors
    graphs: tuple[Graph, ...]

    def __str__(self) -> str:
        """Its name, or what it computes."""
        return self.name or next(filter(None, self.outputs), self.operator)


class Graph(NamedTuple):
    """Operations in the order of the file."""

    nodes: tuple[Node, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    values: tuple[Value, ...]
    sparse: int  # how many tensors are stored as sparse ones


class Model(NamedTuple):
    """The whole file."""

    ir_version: int
    opsets: dict[str, int]  # by domain; the standard's own is ""
    producer: str
    metadata: dict[str, str]
    functions: tuple[str, ...]
    graph: Graph | None
    second_files: tuple[str, ...]  # everywhere that a tensor says its payload is


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


def all_graphs(graph: Graph) -> Iterator[Graph]:
    """The graph, and those inside its operations."""
    yield graph
    for node in graph.nodes:
        for inner in node.graphs:
            yield from all_graphs(inner)


def all_tensors(graph: Graph) -> Iterator[Tensor]:
    """Every stored tensor, those of Constant operations as well."""
    for part in all_graphs(graph):
        yield from part.tensors
        for node in part.nodes:
            for value in node.attributes.values():
                if isinstance(value, Tensor):
                    yield value._replace(name=value.name or str(node))


def constants(graph: Graph) -> dict[str, Tensor]:
    """The stored tensors of one graph by the name under which operations read them."""
    found = {tensor.name: tensor for tensor in graph.tensors}
    for node in graph.nodes:
        if node.operator == "Constant" and len(node.outputs) == 1:
            value = node.attributes.get("value")
            if isinstance(value, Tensor):
                found[node.outputs[0]] = value
            else:
                found |= _listed_constant(node)
    return found


def kind_name(kind: int | None) -> str:
    """The name of an element type, as ONNX writes it."""
    if kind is None:
        return "no tensor"
    return TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else f"type {kind}"


def shape_text(shape: tuple[int | str, ...] | None) -> str:
    """A shape as people write it."""
    return "no shape" if shape is None else "[" + ", ".join(str(axis) or "?" for axis in shape) + "]"


def _last(fields: Fields, name: str, default: Any) -> Any:
    values = fields.get(name)
    return values[-1] if values else default


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _graph(fields: Fields) -> Graph:
    return Graph(
        tuple(_node(entry) for entry in fields.get("node", [])),
        tuple(_tensor(entry) for entry in fields.get("initializer", [])),
        *(tuple(_value(entry) for entry in fields.get(kind, [])) for kind in ("input", "output", "value_info")),
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
    types = {FLOAT: "<f4", DOUBLE: "<f8", INT32: "<i4", INT64: "<i8", BOOL: "?"}
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
    name = {FLOAT: "float_data", DOUBLE: "double_data", INT64: "int64_data"}.get(kind, "int32_data")
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


def _listed_constant(node: Node) -> dict[str, Tensor]:
    """A Constant whose value is a plain number or a list of them."""
    for name, value in node.attributes.items():
        if name.startswith("value_") and isinstance(value, int | float | tuple):
            kind, element = (FLOAT, "<f4") if "float" in name else (INT64, "<i8")
            numbers = np.array(value, element)
            return {node.outputs[0]: Tensor("", kind, numbers.shape, numbers.nbytes, True, numbers, {})}
    return {}


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
