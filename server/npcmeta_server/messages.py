"""What the store and the catalog hold, as messages of the wire."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from npcmeta_server.catalog import Hosted
from npcmeta_server.gen.npcmeta.v1 import resources_pb2
from npcmeta_server.store import DemonstrationRow, NpcRow, RevisionRow
from npcmeta_server.store.archetypes import ArchetypeRevisionRow


def archetype(
    hosted: Sequence[Hosted], kept: Sequence[ArchetypeRevisionRow], counts: Mapping[str, int]
) -> resources_pb2.Archetype:
    """An archetype: its revisions that act, the current one first; those that are kept; NPCs of each."""
    found = hosted[0].archetype
    action = resources_pb2.ActionSpec(
        continuous_size=found.spec.action.continuous_size, branch_sizes=found.spec.action.branch_sizes
    )
    spec = resources_pb2.BehaviorSpec(
        observation_size=found.spec.observation_size, action=action, tick_rate_hz=found.spec.tick_rate_hz
    )
    return resources_pb2.Archetype(
        name=f"archetypes/{found.name}",
        revision=found.revision,
        learner=found.learner_name,
        family=found.family,
        spec=spec,
        state_bytes=hosted[0].state_bytes,
        revisions=_archetype_revisions(hosted, kept, counts),
    )


def _archetype_revisions(
    hosted: Sequence[Hosted], kept: Sequence[ArchetypeRevisionRow], counts: Mapping[str, int]
) -> Iterator[resources_pb2.ArchetypeRevision]:
    active = [each.archetype.revision for each in hosted]
    times = {row.revision: row.create_time for row in kept}
    for revision in dict.fromkeys([active[0], *times, *active, *counts]):
        yield resources_pb2.ArchetypeRevision(
            revision=revision,
            current=revision == active[0],
            active=revision in active,
            npcs=counts.get(revision, 0),
            create_time=timestamp(times[revision]) if revision in times else None,
        )


def npc(row: NpcRow) -> resources_pb2.Npc:
    """An NPC."""
    return resources_pb2.Npc(
        name=f"npcs/{row.id}",
        archetype=f"archetypes/{row.archetype}",
        display_name=row.display_name,
        seed=row.seed,
        revision=f"npcs/{row.id}/revisions/{row.revision}",
        examples=row.examples,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        etag=row.etag,
    )


def demonstration(row: DemonstrationRow) -> resources_pb2.Demonstration:
    """A stored clip."""
    return resources_pb2.Demonstration(
        name=demonstration_name(row.npc, row.id), examples=row.examples, create_time=timestamp(row.create_time)
    )


def demonstration_name(npc_id: str, demonstration_id: str) -> str:
    """The resource name of a stored clip."""
    return f"npcs/{npc_id}/demonstrations/{demonstration_id}"


def revision(row: RevisionRow) -> resources_pb2.Revision:
    """A committed state."""
    return resources_pb2.Revision(
        name=f"npcs/{row.npc}/revisions/{row.number}",
        number=row.number,
        archetype=f"archetypes/{row.archetype}",
        archetype_revision=row.archetype_revision,
        examples=row.examples,
        support_nll=row.support_nll,
        create_time=timestamp(row.create_time),
    )


def timestamp(seconds: float) -> Timestamp:
    """A time in seconds since 1970."""
    fraction, whole = math.modf(seconds)
    return Timestamp(seconds=int(whole), nanos=int(1e9 * fraction))
