"""What a check says: findings, and the report that holds them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

MAX_SHOWN = 60
"""Characters of a name, and names of a list, that a finding shows; files are untrusted and may be large."""


class Finding(NamedTuple):
    """One thing that is wrong with a file."""

    code: str  # stable, for scripts
    severity: Literal["error", "warning"]  # an error: the engine refuses the file or computes something else
    found: str
    consequence: str  # what the engine will do with it
    remedy: str


class Report(NamedTuple):
    """All that was found in one file."""

    file: Path
    target: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the engine takes the file: there are no errors."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "file": str(self.file),
            "target": self.target,
            "ok": self.ok,
            "findings": [finding._asdict() for finding in self.findings],
        }


def error(code: str, found: str, consequence: str, remedy: str) -> Finding:
    """A finding for which an engine refuses the file, or computes something else."""
    return Finding(code, "error", found, consequence, remedy)


def warning(code: str, found: str, consequence: str, remedy: str) -> Finding:
    """A finding with which the file still works, but probably not as it was meant, or not everywhere."""
    return Finding(code, "warning", found, consequence, remedy)


def quote(name: str) -> str:
    """A name out of the file, fit for a terminal: quoted, without control characters, and cut if it is long."""
    cut = name if len(name) <= MAX_SHOWN else name[: MAX_SHOWN - 1] + "…"
    return '"' + "".join(letter if letter.isprintable() else "�" for letter in cut) + '"'


def quote_all(names: Iterable[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(quote(name) for name in listed[:most]) + more
