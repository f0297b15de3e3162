"""The memory that examples take while somebody adapts to them: one budget for the whole server, shared out fairly.

Counted is what is there because of somebody's examples: messages that brought everything at once, clips, and what their
inner loop is given. Jobs that a process has already are bounded by what one takes (`process.MAX_COST`).

A client may hold half of what the others leave, so that there is always room for one who comes: of n clients that want
all they can get, each has 1 / (n + 1) of it. Source: Choudhury, Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", 1998, with alpha = 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import TracebackType

from npcmeta_server.clips import Clip
from npcmeta_server.errors import ServiceError

BYTES_OF_A_CLIP = 1 << 10
"""What the arrays of a clip take beside their content."""


class LessonMemory:
    """How much there may be, and how much of it each client holds. Call from one event loop."""

    def __init__(self, limit: int) -> None:
        """Allows so many bytes."""
        self.limit, self.held_by = limit, Counter[str]()

    @property
    def held(self) -> int:
        """How much all clients hold."""
        return self.held_by.total()

    def share(self, client: str) -> Share:
        """What one adaptation of a client holds, inside its `with`."""
        return Share(self, client)


class Share:
    """The part of one adaptation, which begins with nothing and is given back as a whole."""

    def __init__(self, memory: LessonMemory, client: str) -> None:
        """Made by `LessonMemory.share`."""
        self._memory, self._client, self._held = memory, client, 0

    def take(self, size: int) -> None:
        """Takes so many bytes more; TOO_MANY, and nothing taken, if its client would hold too much."""
        memory, own = self._memory, self._memory.held_by[self._client]
        most = (memory.limit - memory.held + own) // 2
        if size > max(0, most - own):
            raise ServiceError(
                "TOO_MANY",
                f"{size:,} bytes of examples on top of the {own:,} that this client's adaptations under way hold, "
                f"expected at most {most:,} together, half of what other clients leave; end other Adapt streams, show "
                "less, or try again when some have ended (the server allows more with --lesson-mebibytes)",
                limit=most,
            )
        memory.held_by[self._client] += size
        self._held += size

    def take_clips(self, clips: Iterable[Clip]) -> None:
        """The same for clips: twice their content, because the inner loop is given all of them in one piece."""
        self.take(sum(2 * clip.nbytes + BYTES_OF_A_CLIP for clip in clips))

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held_by = self._memory.held_by
        held_by[self._client] -= self._held
        if not held_by[self._client]:
            del held_by[self._client]
        self._held = 0
