"""Stored tensors: whether they are there, are what they say, and survive the engine's own number formats."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npcmeta_export.check.contracts import Contract
from npcmeta_export.check.findings import Finding, error, quote, quote_all, warning
from npcmeta_export.check.graphs import (
    BITS,
    DOUBLE,
    FLOAT,
    INT64,
    Graph,
    Model,
    Tensor,
    all_graphs,
    all_tensors,
    constants,
    kind_name,
    shape_text,
)

LARGE_BYTES = 64 << 20
"""Weights beyond this are no character's: sixteen million numbers, read for every decision."""
HUGE_BYTES = 512 << 20
"""Weights beyond this are not looked at any further."""
INT32 = np.iinfo(np.int32)
CUT_OFF_ANYWAY = {"Slice", "Clip"}
"""Operators for which a number beyond int32 means "to the end", as it still does when cut to int32."""
PASSED_ON = {"Unsqueeze", "Concat", "Identity", "Cast"}
"""Operators that the old exporter of torch puts between such a number and the operator, where it folds nothing."""


def check_weights(model: Model, contract: Contract) -> Iterator[Finding]:
    """All that is wrong with the tensors of the file."""
    assert model.graph is not None
    tensors = list(all_tensors(model.graph))
    yield from _second_files(model, contract)
    yield from _sizes(tensors)
    yield from _types(tensors, contract)
    yield from _dimensions(model.graph, tensors, contract)
    if contract.narrows:
        for graph in all_graphs(model.graph):
            yield from _narrowing(graph, contract)
    sparse = sum(graph.sparse for graph in all_graphs(model.graph))
    if sparse and contract.operators is not None:
        yield error(
            "sparse",
            f"{sparse} sparse tensors",
            f"{contract.engine} does not read sparse tensors",
            "store them as dense ones",
        )


def _second_files(model: Model, contract: Contract) -> Iterator[Finding]:
    if not model.second_files:
        return
    places = sorted(set(model.second_files))
    outside = [place for place in places if place.startswith(("/", "\\", "~")) or ":" in place or ".." in place]
    if outside:
        yield error(
            "second-file-elsewhere",
            f"weights are to be read from {quote_all(outside)}",
            "an engine that follows this reads whatever file of the player lies there; it was not followed",
            "do not use this file, unless you know who wrote it; save it again as one file",
        )
    yield error(
        "second-file",
        f"{len(model.second_files):,} tensors are in another file: {quote_all(places)}",
        f"{contract.engine} gets one file, or does not find the other where the game is installed",
        "save as one file: onnx.save(onnx.load(path), path), or torch.onnx.export(..., external_data=False); "
        "the new exporter of torch writes the second file unasked",
    )


def _sizes(tensors: list[Tensor]) -> Iterator[Finding]:
    for tensor in tensors:
        if any(axis < 0 for axis in tensor.dims) or len(tensor.dims) > 64:
            yield error(
                "damaged-tensor",
                f"tensor {quote(tensor.name)} has the shape {shape_text(tensor.dims[:8])}",
                "engines refuse the file",
                "export again; the file is damaged",
            )
        elif not tensor.external and _short(tensor):
            declared = tensor.size * BITS[tensor.kind] // 8
            yield error(
                "damaged-tensor",
                f"tensor {quote(tensor.name)} declares {shape_text(tensor.dims)} of "
                f"{kind_name(tensor.kind)}, {declared:,} bytes, and holds {tensor.held:,}",
                "engines refuse the file, or allocate what is declared and read beyond what is there",
                "export again; the file is damaged, or was made to do harm",
            )
    total = sum(tensor.held for tensor in tensors)
    consequence = "the engine loads and, for every decision of every character, reads all of it"
    remedy = "take a smaller network: a character's has well under a million weights"
    if total > LARGE_BYTES:
        finding = error if total > HUGE_BYTES else warning
        yield finding("heavy", f"{total / (1 << 20):,.0f} MiB of weights", consequence, remedy)


def _short(tensor: Tensor) -> bool:
    """Whether the payload cannot be what is declared; packed integers take one to ten bytes each."""
    if tensor.kind not in BITS:
        return False
    if tensor.raw:
        return tensor.held != tensor.size * BITS[tensor.kind] // 8
    if tensor.kind in (FLOAT, DOUBLE):
        return tensor.held != tensor.size * BITS[tensor.kind] // 8
    return not tensor.size <= tensor.held <= tensor.size * 16


def _types(tensors: list[Tensor], contract: Contract) -> Iterator[Finding]:
    if contract.kinds is None:
        return
    foreign: dict[int, list[str]] = {}
    for tensor in tensors:
        if tensor.kind not in contract.kinds:
            foreign.setdefault(tensor.kind, []).append(tensor.name)
    for kind, named in foreign.items():
        yield error(
            "tensor-type",
            f"tensors of {kind_name(kind)}: {quote_all(named)}",
            f"{contract.engine} does not read this type",
            "store float32 and int64",
        )


def _dimensions(graph: Graph, tensors: list[Tensor], contract: Contract) -> Iterator[Finding]:
    if contract.max_dimensions is None:
        return
    ranks = {tensor.name: len(tensor.dims) for tensor in tensors}
    for part in all_graphs(graph):
        ranks |= {value.name: len(value.shape or ()) for value in (*part.inputs, *part.outputs, *part.values)}
        ranks |= {node.outputs[0]: rank for node, rank in _told_ranks(part)}
    if many := [name for name, rank in ranks.items() if rank > contract.max_dimensions]:
        yield too_deep(f"{max(ranks[name] for name in many)} dimensions: {quote_all(many)}", contract)


def too_deep(found: str, contract: Contract) -> Finding:
    """A finding of values with more dimensions than the engine's tensors have."""
    return error(
        "dimensions",
        found,
        f"{contract.engine} has tensors of at most {contract.max_dimensions}",
        "merge axes with Reshape before the operation, or rewrite it with MatMul",
    )


def _told_ranks(graph: Graph) -> Iterator[tuple]:
    """Ranks that stand in the operation itself."""
    stored = constants(graph)
    for node in graph.nodes:
        if node.operator in ("Reshape", "Expand", "ConstantOfShape", "Tile") and node.inputs and node.outputs:
            shape = stored.get(node.inputs[-1])
            if shape is not None and len(shape.dims) == 1:
                yield node, shape.dims[0]
        elif node.operator == "Transpose" and isinstance(perm := node.attributes.get("perm"), tuple) and node.outputs:
            yield node, len(perm)


def _narrowing(graph: Graph, contract: Contract) -> Iterator[Finding]:
    stored, matter = constants(graph), _computed_with(graph)
    beyond = [
        name
        for name, tensor in stored.items()
        if tensor.kind == INT64
        and tensor.values is not None
        and tensor.size
        and (tensor.values.max() > INT32.max or tensor.values.min() < INT32.min)
        and name in matter
    ]
    if beyond:
        yield error(
            "narrowing",
            f"integers beyond 32 bits in {quote_all(beyond)}",
            f"{contract.engine} cuts them to the range of int32 and computes with what is left",
            "keep integers below 2147483648",
        )
    doubles = [name for name, tensor in stored.items() if tensor.kind == DOUBLE]
    if doubles and not contract.float64:
        yield warning(
            "narrowing",
            f"float64 tensors: {quote_all(doubles)}",
            f"{contract.engine} computes in float32: results differ from the seventh digit on",
            "export the network in float32: module.float()",
        )


def _computed_with(graph: Graph) -> set[str]:
    """The values whose size matters: all but those that come to nothing but ends of slices and the like."""
    found = {value.name for value in graph.outputs}
    for node in reversed(graph.nodes):
        if node.operator in CUT_OFF_ANYWAY:
            found.update(node.inputs[:1])
        elif node.operator not in PASSED_ON or not found.isdisjoint(node.outputs):
            found.update(node.inputs)
    return found
