"""`npcmeta npc adapt`: an NPC of a running server is taught from recordings, while it acts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from npcmeta_server.cli.calling import Name, Reached, full_name
from npcmeta_server.cli.telling import say
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2, archetypes_pb2, npcs_pb2, resources_pb2, tensor_pb2

PATIENCE_MILLISECONDS = 3_600_000
"""How long others' adaptations, which come first, and the inner loop may take."""


def adapt(name: Name, demo: tuple[Path, ...], connection: Reached, from_scratch: bool = False) -> None:
    """Teach an NPC from recordings, on top of what it was adapted from before. It goes on acting meanwhile.

    Args:
        name: Which NPC.
        demo: Recordings of the character: .npz or Unity .demo files in the order they were played, or its folder.
        from_scratch: Forget what it was adapted from before.
        connection: How the server is reached.
    """
    if not demo:
        raise ValueError("no demonstration was given; expected --demo FILE..., files ending in .npz or .demo")
    with connection.services() as services:
        npc = services.npcs.get_npc(npcs_pb2.GetNpcRequest(name=full_name("npcs", name)))
        found = services.archetypes.get_archetype(archetypes_pb2.GetArchetypeRequest(name=npc.archetype))
        request = adapt_pb2.AdaptOnceRequest(
            setup=adapt_pb2.AdaptSetup(npc=npc.name, from_scratch=from_scratch), examples=[_read(demo, found.spec)]
        )
        revision, last = _followed(services.adapting.adapt_once(request, timeout_ms=PATIENCE_MILLISECONDS))
    known = f", known to {last.known:.0%}" if last.known else ""
    now = f"revision {revision.number}, {revision.examples:,} examples, NLL {revision.support_nll:.4g}"
    say(f"adapted {npc.name}: {now}{known}")
    if last.more_examples:
        say(f"about {last.more_examples:,} more examples would help")


def _read(paths: tuple[Path, ...], wanted: resources_pb2.BehaviorSpec) -> tensor_pb2.Examples:
    """Recordings as the wire has them."""
    from npcmeta.demonstrations import demonstration
    from npcmeta.recordings.folder import read_demonstrations
    from npcmeta.tasks.timelines import as_examples
    from npcmeta.types import ActionSpec, BehaviorSpec
    from npcmeta_server import tensors

    action = ActionSpec(wanted.action.continuous_size, tuple(wanted.action.branch_sizes))
    recording = read_demonstrations(paths, BehaviorSpec(wanted.observation_size, action, wanted.tick_rate_hz))
    for note in recording.notes:
        say(f"note: {note}")
    fields = demonstration(as_examples(recording))
    return tensor_pb2.Examples(**{field: tensors.write(value.numpy()) for field, value in fields.items()})


def _followed(events: Iterable[adapt_pb2.AdaptResponse]) -> tuple[resources_pb2.Revision, adapt_pb2.Progress]:
    """Shows how an adaptation goes; returns what was committed, and what was said last of the inner loop."""
    revision, last = resources_pb2.Revision(), adapt_pb2.Progress()
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), transient=True) as bar:
        task = bar.add_task("waiting", total=None)
        for event in events:
            if event.HasField("progress"):
                last = event.progress
                bar.update(task, description=f"NLL {last.support_nll:.4g}", total=last.steps, completed=last.step)
            elif event.HasField("committed"):
                revision = event.committed.revision
    return revision, last
