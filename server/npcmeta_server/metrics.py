"""What the server counts and times, for Prometheus. docs/operating.md shows it; a test holds the table against this."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # a second number for each, which nobody asks for

SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16)
ROWS = (1, 4, 16, 64, 256, 1024, 4096, 16384)

FRAME_SECONDS = Histogram(
    "npcmeta_frame_seconds", "From a tick, or an ActOnce, to its decisions", buckets=SECONDS
)  # fmt: skip
DECISIONS = Counter("npcmeta_decisions", "Rows decided", ["archetype"])
BATCH_ROWS = Histogram("npcmeta_batch_rows", "Rows that were decided together", ["archetype"], buckets=ROWS)
BATCH_FRAMES = Counter("npcmeta_batch_frames", "Frames that were joined into batches", ["archetype"])
NPCS_RESIDENT = Gauge("npcmeta_npcs_resident", "NPCs whose state is in memory", ["archetype"])
NPCS_STORED = Gauge("npcmeta_npcs_stored", "NPCs in the store")
ADAPTATION_SECONDS = Histogram(
    "npcmeta_adaptation_seconds", "An inner loop, from being asked for to its end", buckets=SECONDS
)  # fmt: skip
ADAPTATIONS_WAITING = Gauge("npcmeta_adaptations_waiting", "Inner loops that were asked for and have not ended")
LESSON_BYTES = Gauge("npcmeta_lesson_bytes", "Bytes that examples hold while somebody adapts to them")
ADAPTATION_STARTS = Counter("npcmeta_adaptation_process_starts", "Starts of the adaptation process")
ADAPTATION_RETRIES = Counter(
    "npcmeta_adaptation_retries", "Jobs given to another adaptation process, as theirs had died"
)  # fmt: skip
COMMIT_SECONDS = Histogram("npcmeta_commit_seconds", "A revision's way to disk and into acting", buckets=SECONDS)
REVISIONS = Counter("npcmeta_revisions", "Revisions committed", ["archetype"])
UPGRADED = Counter(
    "npcmeta_upgraded_npcs", "NPCs that upgrades looked at, by what became of them", ["archetype", "result"]
)
CALLS = Gauge("npcmeta_calls_under_way", "Calls and streams")
CALLS_ENDED = Counter(
    "npcmeta_calls", "Calls and streams that ended, by the reason of their error", ["method", "reason"]
)
ERRORS = Counter("npcmeta_errors", "Errors given, also to parts and members alone, by reason", ["reason"])
