"""How many numbers an input has whose last axis is dynamic, told by the first weights that it meets."""

from __future__ import annotations

from npcmeta_export.check.contracts import Contract
from npcmeta_export.check.graphs import Graph, Node, Tensor, constants
from npcmeta_export.check.signature import port_of

ELEMENTWISE = {"Cast", "Identity", "Add", "Sub", "Mul", "Div", "Clip"}
"""Operators that leave the last axis as long as it was."""
MAX_INPUTS = 64
"""Inputs that are looked at; a file is untrusted, and each costs a walk."""


def told_widths(graph: Graph, contract: Contract) -> dict[str, int]:
    """The size of the last axis of inputs that do not say it; 0 where nothing tells.

    Examples, of which an engine may give any number, are left out.
    """
    stored, found = constants(graph), {}
    for value in graph.inputs[:MAX_INPUTS]:
        port, shape = port_of(value.name, contract.inputs), value.shape or ()
        examples = port is not None and port.axes[-1] == "s"
        if len(shape) > 1 and isinstance(shape[-1], str) and not examples:
            found[value.name] = _width(value.name, graph, stored)
    return found


def _width(name: str, graph: Graph, stored: dict[str, Tensor]) -> int:
    """The width of one input. The operations have to be in order."""
    same = {name}
    for node in graph.nodes:
        if same.isdisjoint(node.inputs):
            continue
        if width := max(_told(node, place, stored) for place in range(len(node.inputs))):
            return width
        if node.operator in ELEMENTWISE:
            same.update(node.outputs)
    return 0


def _told(node: Node, place: int, stored: dict[str, Tensor]) -> int:
    """What the stored tensor in this place of an operation tells of what stands beside it."""
    dims = stored[node.inputs[place]].dims if node.inputs[place] in stored else ()
    if place == 1 and len(dims) == 2 and node.operator in ("MatMul", "Gemm"):
        return dims[1 if node.attributes.get("transB") else 0]
    if dims and dims[-1] > 1 and node.operator in ELEMENTWISE:
        return dims[-1]
    return 0
