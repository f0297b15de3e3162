"""`npcmeta check`: an ONNX file against what an engine accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from npcmeta_export.check import Report, check_file

COLOURS = {"error": "red", "warning": "yellow"}


def check(
    file: Annotated[Path, tyro.conf.Positional],
    target: str,
    json: Path | None = None,
) -> int:
    """Say what is wrong with an ONNX file, what the engine will make of it, and how to mend it.

    The exit status is 0 if there are no errors. The file may come from anywhere: nothing that it names is opened.

    Args:
        file: The ONNX file, of whatever tool.
        target: What is to take it: policy, adapt and begin (npcmeta's own graphs), ort (ONNX Runtime, Unreal, web),
            mlagents (Unity ML-Agents), sentis (Unity Sentis), godot (Godot RL Agents).
        json: Where to write the findings as JSON.
    """
    report = check_file(file, target)
    if json is not None:
        _write(report, json)
    show(report, Console(highlight=False))
    return 0 if report.ok else 1


def show(report: Report, console: Console) -> None:
    """Prints a report, the errors first."""
    for finding in sorted(report.findings, key=lambda finding: finding.severity):
        console.print(
            f"[{COLOURS[finding.severity]}]{finding.severity}[/] {escape(finding.found)} [dim]({finding.code})[/]",
            soft_wrap=True,
        )
        console.print(f"  then: {escape(finding.consequence)}", soft_wrap=True)
        console.print(f"  mend: {escape(finding.remedy)}", soft_wrap=True)
    errors = sum(finding.severity == "error" for finding in report.findings)
    warnings = len(report.findings) - errors
    verdict = "[green]accepted[/]" if report.ok else "[red]refused[/]"
    console.print(
        f"{escape(str(report.file))} for {report.target}: {verdict}, {_counted(errors, 'error')}, "
        f"{_counted(warnings, 'warning')}",
        soft_wrap=True,
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _write(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report.to_json(), indent=1) + "\n")
