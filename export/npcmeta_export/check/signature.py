"""Inputs and outputs: the names, types and axes that an engine looks for."""

from __future__ import annotations

from collections.abc import Iterator

from npcmeta_export.check.contracts import Contract, Port
from npcmeta_export.check.findings import Finding, error, quote, quote_all, warning
from npcmeta_export.check.graphs import Graph, Value, elements, kind_name, shape_text

HUGE_ELEMENTS = 1 << 28
"""Numbers in one declared tensor beyond which nothing is allocated for a trial."""


def check_signature(graph: Graph, contract: Contract) -> Iterator[Finding]:
    """What the engine will feed and fetch, against what the file has."""
    stored = {tensor.name for tensor in graph.tensors}
    given = [value for value in graph.inputs if value.name not in stored]
    yield from _side("input", given, contract.inputs, contract)
    yield from _side("output", list(graph.outputs), contract.outputs, contract)
    for value in (*given, *graph.outputs, *graph.values):
        yield from _absurd(value)


def port_of(name: str, ports: tuple[Port, ...]) -> Port | None:
    """The port that a value of this name belongs to."""
    return next((port for port in ports if port.matches(name)), None)


def _side(side: str, values: list[Value], ports: tuple[Port, ...], contract: Contract) -> Iterator[Finding]:
    finding = error if contract.names_bind else warning
    for port in ports:
        if port.needed and not any(port.matches(value.name) for value in values):
            yield finding(
                f"missing-{side}",
                f"there is no {side} {quote(port.name)}; the {side}s are "
                f"{quote_all(value.name for value in values) or 'none'}",
                _missing(side, contract),
                f"name it so when exporting: {side}_names=[...], {port.name} {_axes(port)}",
            )
    for value in values:
        known = port_of(value.name, ports)
        if known is not None:
            yield from _fits(side, value, known, contract)
        elif side == "input":
            yield finding(
                "unexpected-input",
                f"input {quote(value.name)} {shape_text(value.shape)}",
                _unexpected(contract),
                f"use the names {quote_all(p.name for p in ports)}, or remove it from the network",
            )
            yield from _batch(side, value, contract)


def _fits(side: str, value: Value, port: Port, contract: Contract) -> Iterator[Finding]:
    finding = error if contract.names_bind else warning  # where names do not bind, another value may have this one
    if value.kind not in port.kinds:
        wanted = " or ".join(kind_name(kind) for kind in port.kinds)
        yield finding(
            f"{side}-type",
            f"{side} {quote(value.name)} is {kind_name(value.kind)}, expected {wanted}",
            f"{contract.engine} feeds and reads {wanted} here; the run fails or reads bits as other numbers",
            f"cast it inside the network, so that the file's {side} is {wanted}",
        )
    if value.shape is None:
        yield warning(
            f"{side}-shape",
            f"{side} {quote(value.name)} says no shape",
            "editors cannot check it before the game runs",
            "export with shapes: do not strip them",
        )
    else:
        yield from _fits_axes(side, value, value.shape, port, contract)


def _fits_axes(
    side: str, value: Value, shape: tuple[int | str, ...], port: Port, contract: Contract
) -> Iterator[Finding]:
    finding = error if contract.names_bind else warning
    if not _same_rank(shape, port.axes):
        yield finding(
            f"{side}-shape",
            f"{side} {quote(value.name)} is {shape_text(shape)}, expected {_axes(port)}",
            f"{contract.engine} feeds and reads {_axes(port)}; the run fails",
            "reshape it inside the network",
        )
        return
    for axis, expected in zip(shape, port.axes, strict=False):
        if expected.isdigit() and axis != int(expected) and isinstance(axis, int):
            yield error(
                f"{side}-shape",
                f"{side} {quote(value.name)} is {shape_text(shape)}, expected {_axes(port)}",
                f"{contract.engine} reads {_axes(port)} here",
                "reshape it inside the network",
            )
    if "n" in port.axes:
        yield from _batch(side, value, contract)
    if "s" in port.axes and isinstance(shape[1], int):
        yield error(
            "fixed-examples",
            f"{side} {quote(value.name)} takes exactly {shape[1]} examples",
            "a demonstration of any other length fails",
            "name the second axis in dynamic_axes",
        )


def _batch(side: str, value: Value, contract: Contract) -> Iterator[Finding]:
    """A first axis of a fixed size takes as many rows, no more and no fewer."""
    if value.shape and isinstance(value.shape[0], int) and not (side == "output" and not contract.names_bind):
        finding = error if contract.batches and contract.names_bind else warning
        yield finding(
            "fixed-batch",
            f"{side} {quote(value.name)} is {shape_text(value.shape)}: "
            f"exactly {value.shape[0]} row{'s' if value.shape[0] != 1 else ''}",
            "a run with any other number of characters fails",
            "name the first axis in dynamic_axes (dynamic_shapes in the new exporter of torch)",
        )


def _same_rank(shape: tuple[int | str, ...], axes: tuple[str, ...]) -> bool:
    if axes[-1] == "...":
        return len(shape) >= len(axes) - 1
    return len(shape) == len(axes)


def _axes(port: Port) -> str:
    return "[" + ", ".join(port.axes) + "]"


def _missing(side: str, contract: Contract) -> str:
    if not contract.names_bind:
        return f"{contract.engine} does not mind, but npcmeta's samples and documentation use this name"
    does = "feeds" if side == "input" else "reads"
    return f"{contract.engine} {does} it by this name and stops with an error"


def _unexpected(contract: Contract) -> str:
    if not contract.names_bind:
        return f"{contract.engine} does not mind, but your own code has to feed it"
    return f"{contract.engine} does not feed it: it reports an unexpected or a missing input"


def _absurd(value: Value) -> Iterator[Finding]:
    sizes = tuple(axis for axis in value.shape or () if isinstance(axis, int))
    if any(size < 0 for size in sizes) or len(sizes) > 64:
        yield error(
            "damaged-shape",
            f"{quote(value.name)} is {shape_text((value.shape or ())[:8])}",
            "engines refuse the file",
            "name dynamic axes instead of giving them a size below zero",
        )
    elif elements(sizes) > HUGE_ELEMENTS:
        yield error(
            "huge-tensor",
            f"{quote(value.name)} declares {shape_text(value.shape)}, {elements(sizes):,} numbers or more",
            "the engine allocates it, runs out of memory and stops",
            "declare the size that a character has",
        )
