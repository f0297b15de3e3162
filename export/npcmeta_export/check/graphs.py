"""An ONNX model as the checks see it: names, types, shapes and small constants, no weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
INT32, INT64, BOOL = TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL
BITS: dict[int, int] = {
    TensorProto.FLOAT: 32, TensorProto.UINT8: 8, TensorProto.INT8: 8, TensorProto.UINT16: 16, TensorProto.INT16: 16,
    TensorProto.INT32: 32, TensorProto.INT64: 64, TensorProto.BOOL: 8, TensorProto.FLOAT16: 16, TensorProto.DOUBLE: 64,
    TensorProto.UINT32: 32, TensorProto.UINT64: 64, TensorProto.COMPLEX64: 64, TensorProto.COMPLEX128: 128,
    TensorProto.BFLOAT16: 16,
}  # fmt: skip
"""Bits of an element, of the types whose size is fixed here; small floats and half bytes are left alone."""


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


def _listed_constant(node: Node) -> dict[str, Tensor]:
    """A Constant whose value is a plain number or a list of them."""
    for name, value in node.attributes.items():
        if name.startswith("value_") and isinstance(value, int | float | tuple):
            kind, element = (FLOAT, "<f4") if "float" in name else (INT64, "<i8")
            numbers = np.array(value, element)
            return {node.outputs[0]: Tensor("", kind, numbers.shape, numbers.nbytes, True, numbers, {})}
    return {}
