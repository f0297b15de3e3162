"""The state that goes into a graph and comes out of it again, in npcmeta's own graphs."""

from __future__ import annotations

from collections.abc import Iterator

from npcmeta_export.check.findings import Finding, error, quote, quote_all, warning
from npcmeta_export.check.graphs import Graph, Value, shape_text


def check_pairs(graph: Graph, target: str) -> Iterator[Finding]:
    """The policy graph's state has to be there; every state of the adapt graph has to come out adapted."""
    given = {value.name.removeprefix("state."): value for value in graph.inputs if value.name.startswith("state.")}
    if target == "policy" and not given:
        yield warning(
            "no-state",
            'there is no input "state.*"',
            "every character acts alike",
            "a graph of one NPC is checked with --target ort",
        )
    if target == "adapt":
        yield from _adapted(given, {value.name.removeprefix("adapted."): value for value in graph.outputs})


def _adapted(given: dict[str, Value], adapted: dict[str, Value]) -> Iterator[Finding]:
    """Every tensor of the state comes out again, as it came in."""
    if lost := [f"state.{key}" for key in given if key not in adapted]:
        yield error(
            "lost-state",
            f"{quote_all(lost)} has no output adapted.* of its own",
            "the device loop cannot go on from what it adapted",
            "give out every tensor of the state",
        )
    for key, value in given.items():
        other = adapted[key].shape if key in adapted else None
        if value.shape is not None and other is not None and not _fit(value.shape, other):
            yield error(
                "lost-state",
                f"{quote(value.name)} is {shape_text(value.shape)} and comes out as {shape_text(other)}",
                "what was adapted does not fit into the next run",
                "give the state out as it came in",
            )


def _fit(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    """Whether two shapes can be the same; names of dynamic axes say nothing."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in pairs)
