"""A trial run in a process of its own, with bounded memory and time: what no reading of a file can tell.

The file is untrusted: the process (`trial_process`) may neither write files nor take more memory or time than it is
given, and what it says is read as text. It imports nothing of npcmeta, so that it starts quickly.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from npcmeta_export.check.chance import drawn_outputs
from npcmeta_export.check.contracts import Contract
from npcmeta_export.check.findings import Finding, error, quote, quote_all, warning
from npcmeta_export.check.graphs import Graph
from npcmeta_export.check.signature import port_of
from npcmeta_export.check.weights import too_deep
from npcmeta_export.check.widths import told_widths

SECONDS = 5
"""Of computing; a game's network takes a small part of one. A machine that is busy otherwise may take SLOWNESS times
as long by the clock."""
SLOWNESS = 12
OUT_OF_TIME = (-9, -24)
"""Exit statuses of a process that the system stopped for its computing time."""
MEMORY_BYTES = 1 << 30
"""What a trial may take, beside four times the file's size."""
MAX_FILE_BYTES = 256 << 20
"""Files beyond this are not run."""


def try_out(path: Path, contract: Contract, graph: Graph) -> Iterator[Finding]:
    """Loads the file in onnxruntime and runs it on one row and on several, zeros and others, in another process.

    For files without faults in their structure only, and without payloads in other files.
    """
    widths = told_widths(graph, contract)
    said = _in_process(path, contract, widths)
    if "failed" in said:
        yield error(
            "no-trial",
            f"a trial run ended: {said['failed']}",
            f"{contract.engine} would stop in the same way, or take as long",
            "look for operations that make large tensors or take long",
        )
        return
    if "refused" in said:
        yield error(
            "does-not-load",
            f"ONNX Runtime refuses the file: {said['refused']}",
            f"{contract.engine} refuses it as well, or computes something else",
            "mend what it names in the network, and export again",
        )
        return
    unknown = [name for name, width in widths.items() if not width]
    if unknown and all("error" in run for run in said["runs"]):
        yield _unknown_widths(unknown, said["runs"][0]["error"])
        return
    faults = list(_runs(said["runs"], contract))
    yield from faults
    if all(finding.severity == "warning" for finding in faults):
        yield from _chance(said, contract, drawn_outputs(graph))
    if many := said["dimensions"]:
        yield too_deep(f"values of more than {contract.max_dimensions} dimensions: {quote_all(many)}", contract)


def _unknown_widths(names: list[str], message: str) -> Finding:
    return warning(
        "unknown-width",
        f"input {quote_all(names)} does not say how long its last axis is, and a run with a guess fails: {message}",
        "editors cannot check it before the game runs, and what a run would show was not looked for",
        "export with the number of observations as a size: name the first axis alone in dynamic_axes",
    )


def _runs(runs: list[dict[str, Any]], contract: Contract) -> Iterator[Finding]:
    broken = {run["rows"]: run["error"] for run in runs if "error" in run}
    if broken:
        rows, message = next(iter(broken.items()))
        finding = error if contract.batches or 1 in broken else warning
        which = "any number of rows" if len(broken) == len(runs) else f"{rows} rows, though not with another number"
        yield finding(
            "does-not-run",
            f"it fails with {which}: {message}",
            "the game stops, or the character does nothing",
            "look for Reshape or Expand to a size that was fixed when the network was traced",
        )
        return
    if wrong := _wrong_rows(runs, contract):
        yield wrong
        return
    if strange := sorted({name for run in runs for name in run["not_finite"]}):
        yield warning(
            "not-finite",
            f"output {quote_all(strange)} is not finite where all inputs are zero",
            "characters stand still or jump",
            "look for weights that are NaN, and divisions by zero",
        )


def _wrong_rows(runs: list[dict[str, Any]], contract: Contract) -> Finding | None:
    """The first output that does not have a row for each character."""
    for run in runs:
        for name, rows in run["outputs"].items():
            if _known([name], contract) and rows != run["rows"]:
                finding = error if contract.batches else warning
                return finding(
                    "rows",
                    f"output {quote(name)} has {rows} rows for {run['rows']} characters",
                    "characters get each other's actions, or none",
                    "look for operations over the first axis: a fixed Reshape, a sum over axis 0",
                )
    return None


def _chance(said: dict[str, Any], contract: Contract, drawn: list[str]) -> Iterator[Finding]:
    """Rows that influence each other, and outputs that differ from run to run, drawn ones among them."""
    if mixed := [name for name in said["mixed"] if name not in (*said["drawn"], *drawn)]:
        finding = error if contract.batches and _known(mixed, contract) else warning
        yield finding(
            "rows-influence-each-other",
            f"output {quote_all(mixed)} of a character is another one when others run beside it",
            "what a character does depends on who else is there",
            "look for operations over the first axis: a softmax or a mean over axis 0, BatchNormalization in training, "
            "a recurrent layer that takes characters for steps",
        )
    if trembling := [name for name in said["drawn"] if name not in contract.draws]:
        finding = error if _known(trembling, contract) else warning
        yield finding(
            "draws-at-random",
            f"output {quote_all(trembling)} differs between two runs with the same inputs",
            "characters tremble: what they do depends on chance or on earlier runs, and not on what they see alone",
            "export in evaluation, module.eval(): Dropout draws and BatchNormalization learns in training; "
            "draw outside of the network",
        )


def _known(names: list[str], contract: Contract) -> bool:
    """Whether one of these outputs is known to have a row for each character."""
    ports = [port_of(name, contract.outputs) for name in names]
    return any(port is not None and port.axes[0] == "n" for port in ports)


def _in_process(path: Path, contract: Contract, widths: dict[str, int]) -> dict[str, Any]:
    memory = MEMORY_BYTES + 4 * path.stat().st_size
    program = Path(__file__).with_name("trial_process.py")
    command = [
        sys.executable,
        "-I",
        str(program),
        str(path.resolve()),
        str(memory),
        str(SECONDS),
        str(contract.max_dimensions or 0),
    ]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(widths).encode(),
            capture_output=True,
            timeout=SLOWNESS * SECONDS,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"it did not end within {SLOWNESS * SECONDS} seconds"}
    if done.returncode in OUT_OF_TIME:
        return {"failed": f"it did not end within {SECONDS} seconds of computing"}
    lines = done.stdout.decode(errors="replace").splitlines()
    try:
        said: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {"failed": f"it asked for more than {memory >> 20:,} MiB, or crashed (exit status {done.returncode})"}
    return said
