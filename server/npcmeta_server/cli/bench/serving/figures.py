"""What was measured as ratios, rows and tables; and whether every frame was answered, and rightly."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table

from npcmeta_server.cli.bench.serving import world
from npcmeta_server.cli.bench.serving.driver import Sent, Taught
from npcmeta_server.cli.bench.serving.measuring import NAMES, OURS, Found, Lesson, Pair
from npcmeta_server.cli.bench.serving.world import Work
from npcmeta_server.gen.npcmeta.v1 import act_pb2

ROUND_TRIPS = 3
"""Between a request to adapt and its commit, at least."""
TARGETS = {
    "distinct_1000_vs_shared": "at most 1.3",
    "session_per_npc_1000_vs_distinct": "at least 10",
    "p50_200_vs_echo": "at most 2.5",
    "p99_adapting_vs_busy": "at most 1.5",
    "adapt_p50_vs_floor": "at most 2",
    "adapt_crowd_vs_one_client": "at least 3",
    "bytes_session_vs_npc": "at least 100",
}


def figures(found: Found, work: Work) -> dict[str, Any]:
    """Everything as JSON values."""
    p50 = {key: median(seconds) for key, seconds in found.frames.items()}
    ours = p50[OURS, work.large]
    ratios = {
        "distinct_1000_vs_shared": ours / p50["shared", work.large],
        "session_per_npc_1000_vs_distinct": p50["sessions", work.large] / ours,
        "p50_200_vs_echo": p50[OURS, work.small] / p50["echo", work.small],
        "p99_adapting_vs_busy": median(p99(pair.adapting) / p99(pair.busy) for pair in found.pairs),
        "adapt_p50_vs_floor": median(each.adapt for each in found.lessons) / floor(found.lessons),
        "adapt_crowd_vs_one_client": median(many / one for one, many in found.crowd),
        "bytes_session_vs_npc": found.memory["sessions"] / work.large / found.bytes_per_npc,
    }
    return {
        "ratios": ratios,
        "dropped_frames": sum(dropped(pair.adapting, pair.taught, work.small) for pair in found.pairs),
        "bytes_per_npc": found.bytes_per_npc,
        "rows": [*frame_rows(found), *map(pair_row, found.pairs), adapt_row(found, work)],
    }


def frame_rows(found: Found) -> list[dict[str, Any]]:
    """One row for each server and number of NPCs in a frame."""
    return [
        {
            "kind": "frame",
            "server": name,
            "npcs": rows,
            "p50_ms": 1e3 * median(seconds),
            "p99_ms": 1e3 * float(np.quantile(seconds, 0.99)),
            "server_processor_ms": 1e3 * found.processor[name, rows],
            "frames": len(seconds),
        }
        for (name, rows), seconds in found.frames.items()
    ]


def adapt_row(found: Found, work: Work) -> dict[str, Any]:
    """A row for adaptations one by one, what they cannot do without, and many at once."""
    medians = {name: 1e3 * median(getattr(each, name) for each in found.lessons) for name in Lesson._fields}
    return {
        "kind": "adapt",
        **{f"{name}_p50_ms": value for name, value in medians.items()},
        "per_second_one_client": median(one for one, _ in found.crowd),
        f"per_second_{work.clients}_clients": median(many for _, many in found.crowd),
    }


def pair_row(pair: Pair) -> dict[str, Any]:
    """A row for two runs of the same load."""
    return {
        "kind": "adapting_vs_busy",
        "adapting_p99_ms": 1e3 * p99(pair.adapting),
        "busy_p99_ms": 1e3 * p99(pair.busy),
        "frames": len(pair.adapting),
        "adaptations": len(pair.taught),
        "processor_share": pair.share,
    }


def p99(frames: Sequence[Sent]) -> float:
    """Seconds from when a frame was due to its reply, of the slowest in a hundred."""
    return float(np.quantile([frame.replied - frame.due for frame in frames], 0.99))


def floor(lessons: Sequence[Lesson]) -> float:
    """Seconds that an adaptation cannot do without."""
    loop, echo, fsync = (median(getattr(each, name) for each in lessons) for name in ("inner_loop", "echo", "fsync"))
    return loop + ROUND_TRIPS * echo + fsync


def dropped(frames: Sequence[Sent], taught: Sequence[Taught], rows: int) -> int:
    """Frames without a sound reply.

    A reply is sound if it has an action for every NPC, a revision of each that existed at that time, and the same
    action for the same revision: what is seen is the same in every frame.
    """
    return sum(not sound for sound in _sound(frames, taught, rows))


def _sound(frames: Sequence[Sent], taught: Sequence[Taught], rows: int) -> list[bool]:
    acted: dict[tuple[int, int], bytes] = {}
    lessons: dict[int, list[Taught]] = {}
    for each in taught:
        lessons.setdefault(each.npc, []).append(each)
    before = _revisions(frames[0], rows)
    if before is None:
        return [False] * len(frames)
    answers = []
    for frame in frames:
        revisions = _revisions(frame, rows)
        if revisions is None:
            answers.append(False)
            continue
        part = act_pb2.ActResponse.FromString(frame.reply).tick.parts[0]
        size = len(part.continuous_actions.data) // rows
        fits = True
        for index in range(rows):
            did = part.continuous_actions.data[index * size : (index + 1) * size]
            fits &= acted.setdefault((index, revisions[index]), did) == did
            fits &= _existed(revisions[index], before[index], frame, lessons.get(index, []))
        answers.append(fits)
    return answers


def _revisions(frame: Sent, rows: int) -> list[int] | None:
    """The revisions of a reply, or None if it is no whole answer."""
    response = act_pb2.ActResponse.FromString(frame.reply) if frame.reply else act_pb2.ActResponse()
    if len(response.tick.parts) != 1 or response.tick.parts[0].status.code:
        return None
    part = response.tick.parts[0]
    actions = np.frombuffer(part.continuous_actions.data, np.float32)
    whole = len(part.revisions) == rows and actions.size == rows * world.CONTINUOUS
    return list(part.revisions) if whole and np.isfinite(actions).all() else None


def _existed(revision: int, before: int, frame: Sent, lessons: Sequence[Taught]) -> bool:
    """Whether a revision may have acted: not older than what was acknowledged, nor newer than what was asked for."""
    acknowledged = [each.revision for each in lessons if each.committed < frame.sent]
    asked = [each.revision for each in lessons if each.sent < frame.replied]
    return max([before, *acknowledged]) <= revision <= max([before, *asked])


def tables(values: dict[str, Any]) -> list[Table]:
    """What to show."""
    frames = Table("server", "NPCs in a frame", "p50, ms", "p99, ms", "its processor time, ms", title="frames")
    for row in values["rows"]:
        if row["kind"] == "frame":
            name = f"[bold]{OURS}[/]" if row["server"] == OURS else NAMES[row["server"]]
            timed = (row["p50_ms"], row["p99_ms"], row["server_processor_ms"])
            frames.add_row(name, str(row["npcs"]), *(f"{value:.2f}" for value in timed))
    ratios = Table("ratio", "measured", "aim", title="ratios of this run")
    for name, value in values["ratios"].items():
        ratios.add_row(name, f"{value:.2f}", TARGETS[name])
    return [frames, ratios]
