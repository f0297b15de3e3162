"""`npcmeta top`: a live view of a running server, read from its /metrics."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from npcmeta_server.cli.calling import TOKEN_VARIABLE, Reached
from npcmeta_server.cli.unreached import why

Labels = tuple[tuple[str, str], ...]

STARTED = "process_start_time_seconds"


class Reading(NamedTuple):
    """What a server's metrics said at a moment."""

    seconds: float
    values: Mapping[tuple[str, Labels], float]  # by sample and labels

    def by(self, sample: str, label: str) -> dict[str, float]:
        """A sample's values by one of its labels, summed over the others."""
        found: dict[str, float] = {}
        for (name, labels), value in self.values.items():
            if name == sample:
                key = dict(labels).get(label, "")
                found[key] = found.get(key, 0.0) + value
        return found

    def total(self, sample: str) -> float:
        """A sample's values, summed."""
        return sum(self.by(sample, "").values())


def top(connection: Reached, every: float = 2.0, once: bool = False) -> None:
    """Watch a running server: frames, NPCs, adaptations, errors.

    Args:
        connection: How the server is reached.
        every: Seconds between two looks.
        once: Show what there is, and stop.
    """
    if not every > 0:
        raise ValueError(f"--every is {every}, expected seconds, more than 0")
    connection.check()
    token, context = connection.token(), connection.context()

    def look() -> Reading:
        return read(connection.server, token, context)

    before = look()
    if once:
        Console().print(view(before, before))
        return
    with Live(view(before, before), auto_refresh=False) as live:
        for shown in follow(look, before, every):
            live.update(shown, refresh=True)


def read(server: str, token: str, context: ssl.SSLContext | None = None) -> Reading:
    """Asks a server for its metrics.

    Raises:
        ValueError: If there is no server of ours, or it does not let us in; the message says which.
    """
    request = urllib.request.Request(f"{server.rstrip('/')}/metrics")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            text = answer.read().decode("utf-8")
        return parse(time.monotonic(), text)
    except urllib.error.HTTPError as error:
        hint = f"put a token into {TOKEN_VARIABLE}" if error.code == 401 else "is that the HTTP port of npcmeta serve?"
        raise ValueError(f"{server} answered {error.code} {error.reason}; {hint}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ValueError(f"{server} does not answer as a server of npcmeta does: {why(server, str(error))}") from error


def parse(seconds: float, text: str) -> Reading:
    """Reads Prometheus' text format."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return Reading(seconds, {(s.name, tuple(sorted(s.labels.items()))): s.value for s in samples})


def view(before: Reading, now: Reading) -> Group:
    """What happened between two readings, or since the server started if they are the same one."""
    since = Reading(0.0, {}) if before is now else before
    seconds = None if before is now else max(1e-9, now.seconds - before.seconds)
    return Group(_overview(since, now, seconds), _archetypes(since, now, seconds), _errors(since, now))


def quantile(before: Reading, now: Reading, histogram: str, q: float) -> float | None:
    """A quantile of what was timed between two readings, in seconds: the bucket's upper edge; None if nothing was."""
    old = before.by(f"{histogram}_bucket", "le")
    counts = {float(edge): value - old.get(edge, 0.0) for edge, value in now.by(f"{histogram}_bucket", "le").items()}
    total = counts.get(float("inf"), 0.0)
    return next((edge for edge in sorted(counts) if counts[edge] >= q * total), None) if total else None


def _overview(before: Reading, now: Reading, seconds: float | None) -> Table:
    table = Table(title="npcmeta", title_justify="left", show_header=False)
    up = time.time() - now.total(STARTED)
    rows = {
        "up": f"{up / 3600:.1f} h, {now.total('process_resident_memory_bytes') / (1 << 20):,.0f} MiB",
        "calls under way": f"{now.total('npcmeta_calls_under_way'):,.0f}",
        "NPCs in the store": f"{now.total('npcmeta_npcs_stored'):,.0f}",
        "frames": _rate(before, now, "npcmeta_frame_seconds_count", seconds),
        "frame p50, p99": _quantiles(before, now, "npcmeta_frame_seconds"),
        "adaptations": _rate(before, now, "npcmeta_adaptation_seconds_count", seconds),
        "adaptation p50, p99": _quantiles(before, now, "npcmeta_adaptation_seconds"),
        "adaptations waiting": f"{now.total('npcmeta_adaptations_waiting'):,.0f}",
        "commit p50, p99": _quantiles(before, now, "npcmeta_commit_seconds"),
    }
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def _archetypes(before: Reading, now: Reading, seconds: float | None) -> Table:
    unit = "/s" if seconds else " in all"
    table = Table("archetype", "NPCs in memory", f"decisions{unit}", "rows a batch", f"revisions{unit}")
    for name, resident in sorted(now.by("npcmeta_npcs_resident", "archetype").items()):
        decisions, batches, revisions = (
            now.by(sample, "archetype").get(name, 0.0) - before.by(sample, "archetype").get(name, 0.0)
            for sample in ("npcmeta_decisions_total", "npcmeta_batch_rows_count", "npcmeta_revisions_total")
        )
        joined = f"{decisions / batches:,.1f}" if batches else ""
        over = seconds or 1.0
        table.add_row(name, f"{resident:,.0f}", f"{decisions / over:,.1f}", joined, f"{revisions / over:,.1f}")
    return table


def _errors(before: Reading, now: Reading) -> Table:
    table = Table("error", *(["lately"] if before.values else []), "in all")
    old = before.by("npcmeta_errors_total", "reason")
    for reason, count in sorted(now.by("npcmeta_errors_total", "reason").items()):
        lately = [f"{count - old.get(reason, 0.0):,.0f}"] if before.values else []
        table.add_row(reason, *lately, f"{count:,.0f}")
    return table


def _rate(before: Reading, now: Reading, sample: str, seconds: float | None) -> str:
    count = now.total(sample) - before.total(sample)
    return f"{count / seconds:,.1f} /s" if seconds else f"{count:,.0f} in all"


def _quantiles(before: Reading, now: Reading, histogram: str) -> str:
    found = [quantile(before, now, histogram, q) for q in (0.5, 0.99)]
    return ", ".join(f"< {1e3 * edge:g} ms" for edge in found if edge is not None)


def follow(look: Callable[[], Reading], before: Reading, every: float) -> Iterator[RenderableType]:
    """What there is to see, again and again; a server that goes away is waited for, and may be another one then."""
    last: RenderableType = view(before, before)
    while True:
        time.sleep(every)
        try:
            now = look()
        except ValueError as error:
            yield Group(last, Text(f"{error}; trying again", style="red"))
            continue
        if now.total(STARTED) != before.total(STARTED):
            before = Reading(before.seconds, dict.fromkeys(before.values, 0.0))  # it counts from nothing
        last = view(before, now)
        yield last
        before = now
