"""What a graph draws at random, as far as its operations tell."""

from __future__ import annotations

from npcmeta_export.check.graphs import Graph, Node
from npcmeta_export.check.structure import read_by_node

RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}


def drawn_outputs(graph: Graph) -> list[str]:
    """The outputs that depend on a random number. The operations have to be in order."""
    reached: set[str] = set()
    for node in graph.nodes:
        if _draws(node) or not reached.isdisjoint(read_by_node(node)):
            reached.update(node.outputs)
    return [value.name for value in graph.outputs if value.name in reached]


def _draws(node: Node) -> bool:
    """Whether it draws, or something inside it does; a Dropout does if its third input says that this is training."""
    training = node.operator == "Dropout" and len(node.inputs) > 2
    return node.operator in RANDOM or training or any(_draws(part) for graph in node.graphs for part in graph.nodes)
