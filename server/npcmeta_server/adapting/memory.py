"""The memory that examples take while somebody adapts to them: one budget for the whole server.

Counted is what is there because of somebody's examples: messages that brought everything at once, clips, and what their
inner loop is given. Jobs that a process has already are bounded by what one takes (`process.MAX_COST`).
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

from npcmeta_server.clips import Clip
from npcmeta_server.errors import ServiceError

BYTES_OF_A_CLIP = 1 << 10
"""What the arrays of a clip take beside their content."""


class LessonMemory:
    """How much there may be, and how much of it is held. Call from one event loop."""

    def __init__(self, limit: int) -> None:
        """Allows so many bytes."""
        self.limit, self.held = limit, 0

    def share(self) -> Share:
        """What one adaptation holds, inside its `with`."""
        return Share(self)


class Share:
    """The part of one adaptation, which begins with nothing and is given back as a whole."""

    def __init__(self, memory: LessonMemory) -> None:
        """Made by `LessonMemory.share`."""
        self._memory, self._held = memory, 0

    def take(self, size: int) -> None:
        """Takes so many bytes more; TOO_MANY, and nothing taken, if all together would hold too much."""
        memory = self._memory
        if memory.held + size > memory.limit:
            raise ServiceError(
                "TOO_MANY",
                f"{size:,} bytes of examples on top of the {memory.held:,} that adaptations under way hold, expected "
                f"at most {memory.limit:,} together; end other Adapt streams, show less, or try again when some have "
                "ended (the server allows more with --lesson-mebibytes)",
                limit=memory.limit,
            )
        memory.held += size
        self._held += size

    def take_clips(self, clips: Iterable[Clip]) -> None:
        """The same for clips: twice their content, because the inner loop is given all of them in one piece."""
        self.take(sum(2 * clip.nbytes + BYTES_OF_A_CLIP for clip in clips))

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._memory.held -= self._held
        self._held = 0
