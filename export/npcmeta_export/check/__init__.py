"""A linter for anybody's ONNX file against what an engine accepts. The file is untrusted.

`check_file` reads the structure (`wire`, `graphs`), holds it against the target's contract (`contracts`), and lets
onnxruntime load and run it in a process of its own (`trial`) when nothing speaks against that.
"""

from __future__ import annotations

import mmap
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from npcmeta_export.check.contracts import CONTRACTS, Contract, Port
from npcmeta_export.check.findings import Finding, Report, error
from npcmeta_export.check.graphs import Model
from npcmeta_export.check.mlagents import check_mlagents
from npcmeta_export.check.operations import check_operators, check_versions
from npcmeta_export.check.pairs import check_pairs
from npcmeta_export.check.reading import read_model
from npcmeta_export.check.signature import check_signature
from npcmeta_export.check.structure import check_structure
from npcmeta_export.check.trial import MAX_FILE_BYTES, try_out
from npcmeta_export.check.weights import check_weights
from npcmeta_export.check.wire import WireError

__all__ = ["CONTRACTS", "Contract", "Finding", "Port", "Report", "check_file"]

MAX_ALIKE = 20
"""Findings of one code that a report holds."""
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive; a checkpoint of torch is one: export the network with torch.onnx.export",
    b"version https://git-lfs": "a Git LFS pointer and not the file itself: run git lfs pull",
    b"\x89HDF": "an HDF5 file, as Keras writes: convert it with tf2onnx",
    b"<": "a page of text, perhaps an error message of a download: fetch the file again",
    b"{": "JSON: export the network with torch.onnx.export",
    b"\x80": "a pickle, as old checkpoints of torch are: export the network with torch.onnx.export",
}
"""How files begin that people take for ONNX files."""


def check_file(path: Path, target: str, *, run: bool = True) -> Report:
    """Holds a file against the contract of a target.

    Args:
        path: The file; nothing else is opened, whatever the file says.
        target: One of `CONTRACTS`.
        run: Whether onnxruntime may load and run it, in a process of its own, if nothing speaks against that.

    Returns:
        Everything that was found. An unreadable file is a finding as well, with the code "unreadable".

    Raises:
        ValueError: If there is no such target.
    """
    if target not in CONTRACTS:
        raise ValueError(f'there is no target "{target}" to check for; expected one of: {", ".join(CONTRACTS)}')
    try:
        return Report(path, target, tuple(_limit(_findings(path, target, run))))
    except WireError as problem:
        return Report(path, target, (_unreadable(str(problem)),))


def _findings(path: Path, target: str, run: bool) -> Iterator[Finding]:
    model, contract = _open(path), CONTRACTS[target]
    graph = model.graph
    if graph is None:
        raise WireError("it holds no graph: it is cut short, or no ONNX file at all")
    found = [*check_versions(model, contract), *check_structure(graph), *check_operators(model, contract)]
    found += [*check_weights(model, contract), *check_signature(graph, contract), *check_pairs(graph, target)]
    if target == "mlagents":
        found += check_mlagents(graph)
    yield from found
    if run and _may_run(path, model, found):
        yield from try_out(path, contract, graph)


def _limit(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The first findings of each code: a hostile file has the same fault a hundred thousand times."""
    seen: Counter[str] = Counter()
    for finding in findings:
        seen[finding.code] += 1
        if seen[finding.code] <= MAX_ALIKE:
            yield finding


def _may_run(path: Path, model: Model, found: list[Finding]) -> bool:
    """Whether a trial is safe and would tell anything new."""
    harmless = {
        "missing-output",
        "missing-input",
        "unexpected-input",
        "fixed-batch",
        "look-alike",
        "version",
        "memory",
        "sizes",
        "sensors",
        "input-type",
        "output-type",
        "operator",
        "opset",
    }
    grave = {finding.code for finding in found if finding.severity == "error"} - harmless
    return not grave and not model.second_files and path.stat().st_size <= MAX_FILE_BYTES


def _open(path: Path) -> Model:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise WireError("it is a folder or a device, and no file")
        if not path.stat().st_size:
            raise WireError("it is empty")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check_beginning(data[:64])
            return read_model(data)
    except OSError as problem:
        raise WireError(f"it cannot be read: {problem.strerror or problem}") from problem


def _check_beginning(head: bytes) -> None:
    for beginning, what in OTHER_FORMATS.items():
        if head.startswith(beginning):
            raise WireError(f"it is {what}")
    if head[4:8] == b"ORTM":
        raise WireError("it is in ONNX Runtime's own ORT format: check the .onnx file that it was made of")


def _unreadable(problem: str) -> Finding:
    return error(
        "unreadable",
        f"this is no readable ONNX file: {problem}",
        "no engine loads it",
        "export it again, or fetch it again whole",
    )
