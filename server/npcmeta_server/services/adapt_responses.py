"""What an Adapt stream answers."""

from __future__ import annotations

from collections.abc import Sequence

from npcmeta_server import messages
from npcmeta_server.adapting.jobs import Progressed
from npcmeta_server.clips import Clip
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2
from npcmeta_server.store import Committed, NpcRow


def started(row: NpcRow, archetype_revision: str, known: Sequence[Clip]) -> adapt_pb2.AdaptResponse:
    """The NPC that is adapted, by which revision, and from how many examples on."""
    begun = adapt_pb2.Started(
        npc=f"npcs/{row.id}",
        archetype=f"archetypes/{row.archetype}",
        archetype_revision=archetype_revision,
        examples=sum(clip.examples for clip in known),
    )
    return adapt_pb2.AdaptResponse(started=begun)


def accepted(examples: int, total: int) -> adapt_pb2.AdaptResponse:
    """Examples were taken in."""
    return adapt_pb2.AdaptResponse(accepted=adapt_pb2.Accepted(examples=examples, total_examples=total))


def progress(step: Progressed) -> adapt_pb2.AdaptResponse:
    """A step of the inner loop."""
    return adapt_pb2.AdaptResponse(progress=adapt_pb2.Progress(**step._asdict()))


def discarded(row: NpcRow) -> adapt_pb2.AdaptResponse:
    """Nothing is kept."""
    return adapt_pb2.AdaptResponse(discarded=adapt_pb2.Discarded(npc=f"npcs/{row.id}"))


def committed(done: Committed) -> adapt_pb2.AdaptResponse:
    """The revision that acts from now on."""
    kept = adapt_pb2.Committed(
        revision=messages.revision(done.revision),
        demonstrations=[messages.demonstration_name(done.revision.npc, each) for each in done.clips],
        left_out=[messages.demonstration_name(*each) for each in done.left_out],
    )
    return adapt_pb2.AdaptResponse(committed=kept)
