"""Versions and operators: what a file needs of an engine, and whether the engine has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx

from npcmeta_export.check.contracts import Contract
from npcmeta_export.check.findings import Finding, error, quote, quote_all, warning
from npcmeta_export.check.graphs import Graph, Model, Node, Tensor, all_graphs, constants

REPLACED = {
    "LayerNormalization": "opset 17",
    "GroupNormalization": "opset 18",
    "Gelu": "opset 20: write it with Erf",
}
"""Operators that a later opset brought, as a hint."""


def check_versions(model: Model, contract: Contract) -> Iterator[Finding]:
    """The opset and the format's own version."""
    yield from _opset(model.opsets.get(""), contract)
    yield from _format(model.ir_version, contract)
    if model.functions:
        yield from _functions(model, contract)


def check_operators(model: Model, contract: Contract) -> Iterator[Finding]:
    """Operators that the engine, or ONNX itself at this opset, does not have."""
    assert model.graph is not None
    nodes = [node for graph in all_graphs(model.graph) for node in graph.nodes]
    functions = set(model.functions)
    counts = Counter((node.domain, node.operator) for node in nodes)
    for (domain, operator), count in counts.items():
        if operator in functions and domain:
            continue
        what = f"{count} operation{'s' if count > 1 else ''} {quote(operator)}"
        if domain:
            yield from _foreign(what, domain, model, contract)
        else:
            yield from _standard(what, operator, model.opsets.get(""), contract)
    if contract.operators is not None:
        yield from _backends(nodes)
    yield from _huge(model.graph, contract)


def _opset(opset: int | None, contract: Contract) -> Iterator[Finding]:
    low, high = contract.opsets
    export_again = f"export with opset_version={min(high, 15)}"
    if opset is None:
        yield error(
            "opset",
            "the file names no opset",
            f"{contract.engine} cannot know what its operators mean",
            "set opset_import when saving; the end of the file may be lost",
        )
    elif opset < low:
        yield error("opset", f"opset {opset}", f"{contract.engine} takes opsets {low} to {high}", export_again)
    elif opset > high:
        finding = warning if contract.newer_opsets else error
        which = f"older releases of {contract.engine} take" if contract.newer_opsets else f"{contract.engine} takes"
        yield finding(
            "opset",
            f"opset {opset}",
            f"{which} opsets {low} to {high}; operators whose "
            "meaning has changed since are refused, or computed as they once were",
            export_again,
        )


def _format(version: int, contract: Contract) -> Iterator[Finding]:
    if version > contract.newest_ir:
        yield warning(
            "ir-version",
            f"IR version {version}",
            f"readers that know versions up to {contract.newest_ir} refuse the file",
            f"set model.ir_version = {min(8, contract.newest_ir)} after exporting and save again",
        )
    if version < 3:
        yield error(
            "ir-version",
            f"IR version {version}",
            "engines refuse the file",
            "set model.ir_version = 8 and save again; the file's beginning may be damaged",
        )


def _functions(model: Model, contract: Contract) -> Iterator[Finding]:
    finding = error if contract.operators is not None else warning
    yield finding(
        "functions",
        f"model functions {quote_all(model.functions)}",
        f"{contract.engine} reads the main graph only"
        if contract.operators is not None
        else "readers before IR 8 refuse the file; what is inside is not checked here",
        "export with inlined functions: onnx.inliner.inline_local_functions",
    )


def _foreign(what: str, domain: str, model: Model, contract: Contract) -> Iterator[Finding]:
    found = f"{what} of the domain {quote(domain)}"
    if contract.operators is not None:
        yield error(
            "foreign-operator",
            found,
            f"{contract.engine} has the operators of ONNX alone",
            "export without fusing: save before an optimiser of one runtime has rewritten the graph",
        )
    elif domain not in model.opsets:
        yield error(
            "foreign-operator",
            f"{found}, which opset_import does not name",
            "the file does not load",
            "name the domain and its version in opset_import",
        )
    else:
        yield warning(
            "foreign-operator",
            found,
            "only builds of ONNX Runtime with these operators load the file",
            "export without fusing, or make sure that the game's build has them",
        )


def _standard(what: str, operator: str, opset: int | None, contract: Contract) -> Iterator[Finding]:
    if contract.operators is not None and operator not in contract.operators:
        remedy = REPLACED.get(
            operator, f"replace {quote(operator)} in the network by operators of docs/engines/operators.md"
        )
        if operator in ("If", "Loop", "Scan"):
            remedy = "replace the branch or the loop by arithmetic: unroll it to a fixed number, mask with Where"
        yield error("operator", what, f"{contract.engine} does not import this operator", remedy)
    elif opset is not None and not _known(operator, opset):
        yield error(
            "operator",
            f"{what}, which ONNX opset {opset} does not have",
            "the file does not load",
            f"export for an opset that has it{': ' + REPLACED[operator] if operator in REPLACED else ''}, or "
            "let the exporter write it with older ones",
        )


def _known(operator: str, opset: int) -> bool:
    if not onnx.defs.has(operator):
        return False
    try:
        schema = onnx.defs.get_schema(operator, min(opset, onnx.defs.onnx_opset_version()), "")
    except onnx.defs.SchemaError:
        return False
    return not schema.deprecated


def _backends(nodes: list[Node]) -> Iterator[Finding]:
    if wide := [str(node) for node in nodes if node.operator == "Einsum" and len(node.inputs) > 2]:
        yield warning(
            "einsum",
            f"Einsum of more than two tensors: {quote_all(wide)}",
            "Unity's GPUCompute backend refuses it; the CPU backend runs it",
            "split it into products of two",
        )


def _huge(graph: Graph, contract: Contract) -> Iterator[Finding]:
    """Numbers that an operation makes tensors of: a file of a hundred bytes can ask for terabytes."""
    limit = 1 << 28
    stored = constants(graph)
    for node in graph.nodes:
        shape = node.attributes.get("shape")
        if node.operator in ("ConstantOfShape", "Expand") and node.inputs:
            told: Tensor | None = stored.get(node.inputs[-1])
            shape = None if told is None or told.values is None else tuple(told.values.reshape(-1)[:64].tolist())
        size = 1
        for axis in shape if isinstance(shape, tuple) else ():
            size *= max(1, int(axis))
        if size > limit:
            yield error(
                "huge-tensor",
                f"{node.operator} {quote(str(node))} makes {size:,} numbers",
                f"{contract.engine} runs out of memory or stops for seconds",
                "make the tensor as small as it has to be, or broadcast instead of expanding",
            )
