"""The inner loop beside those of libraries: they take turns on the same tasks, on one thread."""

from __future__ import annotations

import importlib.util
import itertools
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from npcmeta.types import Params
from npcmeta_server.cli.bench import works
from npcmeta_server.cli.bench.contenders import CONTENDERS, Contender, Ready, stacked
from npcmeta_server.cli.bench.saved import saved_bytes
from npcmeta_server.cli.bench.works import Problem, Work

TOLERANCE = 1e-2
"""Largest norm of a difference from float64, relative. One relu that rounds to its other side makes some 1e-4."""
GEMM_ROWS, GEMM_SECONDS = 320, 0.02


class Row(NamedTuple):
    """What was measured of one contender."""

    work: str
    method: str
    kind: str
    mode: str  # first_order or second_order
    tasks_per_second: float
    max_abs_difference: float
    saved_bytes: int | None  # for the way back; None in first order


def bench(console: Console, repeats: int, libraries: bool) -> dict[str, Any]:
    """Measures every work, shows tables, and returns the figures as JSON values.

    Raises:
        ImportError: If a library is not installed.
        RuntimeError: If contenders do not compute the same.
    """
    torch.set_num_threads(1)
    contenders = [each for each in CONTENDERS if libraries or not each.packages]
    check_installed(contenders)
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "rows": []}
    for work in works.WORKS:
        rows, gflops = measure(work, contenders, repeats, console)
        found = ratios(work, rows, gflops)
        for mode in ("first_order", "second_order"):
            console.print(table(work, [row for row in rows if row.mode == mode], mode))
        console.print(summary(found), highlight=False)
        figures["rows"] += [shown(row) for row in rows]
        figures |= found if work is works.WORKS[0] else {work.name: found}
    return figures


def check_installed(contenders: Iterable[Contender]) -> None:
    """Raises ImportError, which says what to install, if a contender's package is missing."""
    missing = sorted({p for each in contenders for p in each.packages if importlib.util.find_spec(p) is None})
    if missing:
        raise ImportError(
            f"{' and '.join(missing)} would be measured, too, but {'are' if len(missing) > 1 else 'is'} not installed; "
            'run pip install "npcmeta[bench]", or say --no-libraries'
        )


def measure(work: Work, contenders: list[Contender], repeats: int, console: Console) -> tuple[list[Row], float]:
    """Every contender in both orders, and the rate of this machine's matrix products at the work's shapes."""
    problems = {"first_order": works.pose(work, work.tasks), "second_order": works.pose(work, work.meta_batch)}
    calls: dict[tuple[str, Contender], Callable[[], Tensor | Params]] = {}
    checked: dict[tuple[str, Contender], tuple[float, int | None]] = {}
    for mode, problem in problems.items():
        reference = in_float64(problem)
        for contender in contenders:
            ready = contender.prepare(problem)
            calls[mode, contender] = ready.first_order if mode == "first_order" else outer_step(ready)
            checked[mode, contender] = check(contender, ready, reference, mode)
    seconds: dict[tuple[str, Contender], list[float]] = {key: [] for key in calls}
    gflops = []
    for _ in track(range(repeats), work.name, console=console, transient=True):
        gflops.append(gemm_gflops(work))
        for key, call in calls.items():
            seconds[key].append(cpu_seconds(call))
    tasks = {"first_order": work.tasks, "second_order": work.meta_batch}
    rows = [
        Row(work.name, each.name, each.kind, mode, tasks[mode] / statistics.median(taken), *checked[mode, each])
        for (mode, each), taken in seconds.items()
    ]
    return rows, statistics.median(gflops)


def outer_step(ready: Ready) -> Callable[[], Params]:
    """The meta-loss, and back."""
    return lambda: ready.meta_gradient(ready.second_order())


def cpu_seconds(call: Callable[[], Any]) -> float:
    """Processor time of one call: what others do on this machine at that time does not count."""
    began = time.process_time()
    call()
    return time.process_time() - began


def in_float64(problem: Problem) -> Ready:
    """What everybody has to compute, in twice the precision."""
    return stacked.prepare(doubled(problem))


def doubled(problem: Problem) -> Problem:
    """The same problem in float64."""

    def convert(values: Any) -> Any:
        if isinstance(values, Tensor):
            return values.double() if values.is_floating_point() else values
        return type(values)(*(convert(value) for value in values))

    return problem._replace(
        shared={key: value.double() for key, value in problem.shared.items()},
        task=convert(problem.task),
        support_target=convert(problem.support_target),
        query_target=convert(problem.query_target),
    )


def check(contender: Contender, ready: Ready, reference: Ready, mode: str) -> tuple[float, int | None]:
    """Largest difference from the reference, and bytes that are kept for the way back.

    Raises:
        RuntimeError: If the difference is no matter of precision.
    """
    kept = None
    if mode == "first_order":
        found, expected = {"predictions": ready.first_order()}, {"predictions": reference.first_order()}
    else:
        loss = ready.second_order()
        kept = saved_bytes(loss)
        found, expected = ready.meta_gradient(loss), reference.meta_gradient(reference.second_order())
    differences = {key: (found[key] - value).abs() for key, value in expected.items()}
    for key, difference in differences.items():
        share = float(difference.norm() / expected[key].norm())
        if not share <= TOLERANCE:
            raise RuntimeError(
                f"{contender.name}: {key} is {share:.1e} off in {mode}, expected at most {TOLERANCE:.0e}"
            )
    return max(float(difference.max()) for difference in differences.values()), kept


def gemm_gflops(work: Work) -> float:
    """How many 1e9 floating point operations a second this machine does in the work's products, on one thread."""
    pairs = [(torch.randn(GEMM_ROWS, i), torch.randn(i, o)) for i, o in itertools.pairwise(works.layer_sizes(work))]
    operations = sum(2 * a.shape[0] * b.numel() for a, b in pairs)
    rounds, began = 0, time.process_time()
    while (taken := time.process_time() - began) < GEMM_SECONDS or not rounds:
        for a, b in pairs:
            torch.mm(a, b)
        rounds += 1
    return rounds * operations / taken / 1e9


def ratios(work: Work, rows: list[Row], gflops: float) -> dict[str, float | None]:
    """The figures that compare, as JSON values; None where no library was measured."""

    def best(kind: str, mode: str) -> Row | None:
        return max(
            (row for row in rows if (row.kind, row.mode) == (kind, mode)),
            key=lambda row: row.tasks_per_second,
            default=None,
        )

    def ratio(mode: str, kind: str) -> float | None:
        ours, theirs = best("ours", mode), best(kind, mode)
        return ours.tasks_per_second / theirs.tasks_per_second if ours and theirs else None

    ours, library = best("ours", "second_order"), best("library", "second_order")
    first = best("ours", "first_order")
    speed = first.tasks_per_second if first else 0.0
    return {
        "ratio_first_order": ratio("first_order", "library"),
        "ratio_first_order_stacked": ratio("first_order", "torch"),
        "ratio_second_order": ratio("second_order", "library"),
        "ratio_second_order_stacked": ratio("second_order", "torch"),
        "saved_ratio_second_order": _quotient(ours, library),
        "share_of_floor": speed * works.floating_point_operations(work) / gflops / 1e9,
        "sgemm_gflops": gflops,
    }


def _quotient(ours: Row | None, theirs: Row | None) -> float | None:
    return (
        ours.saved_bytes / theirs.saved_bytes if ours and theirs and ours.saved_bytes and theirs.saved_bytes else None
    )


def shown(row: Row) -> dict[str, Any]:
    """A row as JSON values."""
    values = row._asdict()
    if row.saved_bytes is None:
        del values["saved_bytes"]
    return values


def table(work: Work, rows: list[Row], mode: str) -> Table:
    """One order of one work, the fastest first."""
    sizes = "-".join(map(str, works.layer_sizes(work)))
    what = (
        f"adapting {work.tasks} tasks and predicting" if mode == "first_order" else f"outer step of {work.meta_batch}"
    )
    shown = Table(title=f"{work.name}: {what}, {sizes}, {work.shots} shots, {work.steps} steps, one thread")
    for heading in ("method", "tasks/s", "npcmeta is faster", "largest difference", "saved, MiB"):
        shown.add_column(heading, justify="left" if heading == "method" else "right")
    ours = next(row.tasks_per_second for row in rows if row.kind == "ours")
    for row in sorted(rows, key=lambda row: -row.tasks_per_second):
        saved = "-" if row.saved_bytes is None else f"{row.saved_bytes / 2**20:.1f}"
        name = f"[bold]{row.method}[/]" if row.kind == "ours" else row.method
        faster = "" if row.kind == "ours" else f"{ours / row.tasks_per_second:.1f} x"
        shown.add_row(name, f"{row.tasks_per_second:.0f}", faster, f"{row.max_abs_difference:.0e}", saved)
    return shown


def summary(found: dict[str, float | None]) -> str:
    """How near to what the machine can do."""
    return (
        f"matrix products of these shapes: {found['sgemm_gflops']:.0f} GFLOP/s; adapting and predicting runs at "
        f"[bold]{100 * (found['share_of_floor'] or 0):.0f} %[/] of what that allows for plain SGD"
    )
