"""The tables of docs/operating.md, from the code. `python -m tests.golden.operating` prints them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from docstring_parser import parse
from prometheus_client.metrics import MetricWrapperBase

from npcmeta_server import limits, metrics
from npcmeta_server.access import roles
from npcmeta_server.cli import environment
from npcmeta_server.cli.serve import serve


def settings() -> Iterator[str]:
    """A row for each option of `npcmeta serve`."""
    said = {part.arg_name: " ".join((part.description or "").split()) for part in parse(serve.__doc__ or "").params}
    for option in environment.options(serve):
        meaning = said[option.flag.removeprefix("--").replace("-", "_")]
        yield f"| `{option.flag}` | `{option.variable}` | {_default(option.default)} | {meaning} |"


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return "has to be given"
    if value is None or value == () or value is False:
        return ""
    return f"{value:,}" if isinstance(value, int) and value > 99_999 else str(value)


def limit_rows() -> Iterator[str]:
    """A row for each limit: what stands under it in the code, and its value."""
    body = ast.parse(Path(limits.__file__).read_text()).body[1:]
    for assigned, said in zip(body[::2], body[1::2], strict=True):
        assert isinstance(assigned, ast.Assign)
        assert isinstance(said, ast.Expr)
        [name] = (target.id for target in assigned.targets if isinstance(target, ast.Name))
        yield f"| {ast.literal_eval(said.value)} | {_number(getattr(limits, name))} |"


def _number(value: float) -> str:
    if isinstance(value, int) and value == limits.MAX_SEED:
        return "2^63 - 1"
    return f"{value >> 20} Mi" if isinstance(value, int) and value % (1 << 20) == 0 else f"{value:,.0f}"


def metric_rows() -> Iterator[str]:
    """A row for each metric: its name, its labels, and what it is."""
    for found in vars(metrics).values():
        if isinstance(found, MetricWrapperBase):
            name = f"{found._name}_total" if found._type == "counter" else found._name
            yield f"| `{name}` | {found._type} | {', '.join(found._labelnames)} | {found._documentation} |"


def role_rows() -> Iterator[str]:
    """A row for each role: what it may do beside what those before it may."""
    for role, paths in (("none", roles.OPEN), ("act", roles.ACT), ("adapt", roles.ADAPT), ("admin", roles.ADMIN)):
        shown = (path.removeprefix("/").removeprefix("npcmeta.v1.").rstrip("/") for path in paths)
        shown = (f"/{path}" if path in ("health", "metrics") else path for path in shown)
        yield f"| {role} | {', '.join(f'`{path}`' for path in shown)} |"


TABLES = (settings, limit_rows, metric_rows, role_rows)

if __name__ == "__main__":
    for table in TABLES:
        print("\n".join(table()), end="\n\n")
