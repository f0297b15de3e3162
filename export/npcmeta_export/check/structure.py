"""Whether a graph is one: every value made once, before it is read, and every output computed by something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator

from npcmeta_export.check.findings import Finding, error, quote_all, warning
from npcmeta_export.check.graphs import Graph, Node

RENAME = "give every value a name of its own and export again"


def check_structure(graph: Graph) -> Iterator[Finding]:
    """Faults that make the graph no graph, for every engine alike."""
    yield from _emptiness(graph)
    yield from _duplicates(graph)
    yield from _order(graph, ())
    yield from _bare_outputs(graph)


def _emptiness(graph: Graph) -> Iterator[Finding]:
    if not graph.nodes:
        yield error(
            "no-operations",
            "the graph has no operations",
            "nothing is computed from what a character sees",
            "export the network again; the file holds its frame only",
        )
    if not graph.outputs:
        yield error(
            "no-outputs",
            "the graph has no outputs",
            "there is nothing that an engine could read",
            "name the network's outputs when exporting",
        )


def _duplicates(graph: Graph) -> Iterator[Finding]:
    made = [name for node in graph.nodes for name in node.outputs if name]
    given = [value.name for value in graph.inputs]
    stored = [tensor.name for tensor in graph.tensors]
    for kind, names in (
        ("input", given),
        ("output", [value.name for value in graph.outputs]),
        ("stored tensor", stored),
        ("value", [*made, *set(given), *(set(stored) - set(given))]),
    ):
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            yield error(
                "duplicate-name",
                f"{kind} {quote_all(twice)} is there more than once",
                "engines refuse the file, or read one of them for the other",
                RENAME,
            )


def _order(graph: Graph, outside: tuple[Container[str], ...]) -> Iterator[Finding]:
    """Reading what nobody makes, what is made later, and going round in circles."""
    made_by = {name: index for index, node in enumerate(graph.nodes) for name in node.outputs if name}
    known = {value.name for value in graph.inputs} | {tensor.name for tensor in graph.tensors}
    reads = [list(read_by_node(node)) for node in graph.nodes]
    scopes = (known, made_by, *outside)
    wanted = {name for names in reads for name in names} | {value.name for value in graph.outputs}
    if unknown := sorted(name for name in wanted if not any(name in scope for scope in scopes)):
        yield error(
            "undefined-value",
            f"nothing makes the value {quote_all(unknown)}",
            "the file does not load",
            "export again: an operation or a weight was lost",
        )
    before = [{made_by[name] for name in names if name in made_by} for names in reads]
    if any(max(made, default=-1) >= index for index, made in enumerate(before)):
        yield _circle_or_disorder(graph, before)
    for node in graph.nodes:
        for inner in node.graphs:
            yield from _order(inner, scopes)


def _circle_or_disorder(graph: Graph, before: list[set[int]]) -> Finding:
    waiting = [len(made) for made in before]
    after: list[list[int]] = [[] for _ in before]
    for index, made in enumerate(before):
        for earlier in made:
            after[earlier].append(index)
    ready = [index for index, count in enumerate(waiting) if not count]
    for index in ready:
        for later in after[index]:
            waiting[later] -= 1
            if not waiting[later]:
                ready.append(later)
    if len(ready) == len(before):
        return error(
            "not-sorted",
            "an operation stands before one whose result it reads",
            "engines refuse the file",
            "sort the operations topologically and save again",
        )
    stuck = [str(graph.nodes[index]) for index, count in enumerate(waiting) if count]
    return error(
        "cycle",
        f"the graph goes round in a circle through {quote_all(stuck)}",
        "no engine can run it; some hang while importing it",
        "export again; a network without feedback inside one step has no circles",
    )


def read_by_node(node: Node) -> Iterator[str]:
    """What a node reads from its own graph, through its inner graphs as well."""
    yield from filter(None, node.inputs)
    for inner in node.graphs:
        own = {value.name for value in inner.inputs} | {tensor.name for tensor in inner.tensors}
        own |= {name for part in inner.nodes for name in part.outputs}
        yield from (name for part in inner.nodes for name in read_by_node(part) if name not in own)


def _bare_outputs(graph: Graph) -> Iterator[Finding]:
    stored = {tensor.name for tensor in graph.tensors}
    given = {value.name for value in graph.inputs} - stored
    outputs = [value.name for value in graph.outputs]
    consequence = 'Unity says "Graph output does not exist in the graph" and imports nothing; others renamed it'
    if bare := [name for name in outputs if name in stored]:
        yield error(
            "bare-output",
            f"output {quote_all(bare)} is a stored tensor, made by no operation",
            consequence,
            "put a Constant operation and an Identity behind it: an operation for each such output",
        )
    if passed := [name for name in outputs if name in given]:
        yield error(
            "bare-output",
            f"output {quote_all(passed)} is an input, passed on by no operation",
            consequence,
            "put an Identity operation between the two, and give the output a name of its own",
        )
    if listed := [value.name for value in graph.inputs if value.name in stored]:
        yield warning(
            "weights-as-inputs",
            f"stored tensor {quote_all(listed)} is listed as an input as well",
            "engines may ask for it at every run, and cannot fold it into other weights",
            "export with keep_initializers_as_inputs=False",
        )
