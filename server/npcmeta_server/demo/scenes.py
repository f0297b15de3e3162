"""The scenes of the demo: NPCs are made and adapted over gRPC, then hundreds of them act while another is adapted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grpc.aio
import numpy as np
import torch
from safetensors.torch import load

from npcmeta.tasks.arena import world
from npcmeta.tasks.arena.observe import observe
from npcmeta.tasks.arena.state import action_mask, reset
from npcmeta.types import Params
from npcmeta_server.demo.cast import DEMONSTRATIONS, Cast
from npcmeta_server.demo.game import Game
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2

ARENAS_EACH = 4
FRAMES = 80
FRAME_SECONDS = 0.1


class Live(NamedTuple):
    """How acting went."""

    npcs: int
    milliseconds: list[float]  # round trip of every frame
    adapting: list[bool]  # whether an NPC was being adapted meanwhile
    late: int  # frames that took longer than their tenth of a second
    swapped_at: int  # the first frame in which the adapted NPC's new revision acted; -1 if none


async def adapt_all(
    channel: grpc.aio.Channel, archetype: str, cast: Cast, say: Callable[[str], None], progress: Callable[[float], None]
) -> list[float]:
    """Creates and adapts an NPC for each character and number of demonstrations.

    Args:
        channel: To the server.
        archetype: Its resource name.
        cast: Whom to imitate.
        say: Told of every event of the first character's longest adaptation, as it comes.
        progress: Told how much is done, 0 to 1.

    Returns:
        Milliseconds of each adaptation from 10 demonstrations, from the first request to the commit on disk.
    """
    game, milliseconds = Game(channel), []
    pairs = [(character, count) for character in range(len(cast.names)) for count in DEMONSTRATIONS]
    for done, (character, count) in enumerate(pairs):
        progress(done / len(pairs))
        npc = cast.npc(character, count)
        await game.create(npc, archetype)
        if not count:
            continue
        longest = count == max(DEMONSTRATIONS)
        started = time.perf_counter()
        await game.adapt(
            npc, cast.clips(character, count), partial(_tell, say) if longest and not character else _ignore
        )
        if longest:
            milliseconds.append(1e3 * (time.perf_counter() - started))
    return milliseconds


async def fetch_states(channel: grpc.aio.Channel, cast: Cast, demonstrations: int) -> Params:
    """The committed states of all NPCs that saw so many demonstrations, a row for each character."""
    game = Game(channel)
    states = [
        load(await game.fetch(f"npcs/{cast.npc(character, demonstrations)}/assets/state"))
        for character in range(len(cast.names))
    ]
    return {key.removeprefix("state."): torch.cat([state[key] for state in states]) for key in states[0]}


async def fetch_assets(channel: grpc.aio.Channel, names: dict[str, str], folder: Path) -> list[Path]:
    """Fetches assets over the wire; `names` gives the file name for each."""
    game, paths = Game(channel), []
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in names.items():
        (folder / file).write_bytes(await game.fetch(name))
        paths.append(folder / file)
    return paths


async def act_live(channel: grpc.aio.Channel, archetype: str, cast: Cast, progress: Callable[[float], None]) -> Live:
    """Plays arena frames at 10 Hz with every NPC in several arenas; meanwhile a zero-shot NPC is adapted again."""
    game = Game(channel)
    npcs = [cast.npc(character, count) for character in range(len(cast.names)) for count in DEMONSTRATIONS]
    members = npcs * ARENAS_EACH
    stage = await game.stage(archetype, members)
    learning = len(npcs) - len(DEMONSTRATIONS)  # the last character's NPC without demonstrations
    state = reset(np.random.default_rng(7), len(members))
    milliseconds, adapting, revisions, late = [], [], [], 0
    lesson: asyncio.Task[None] | None = None
    for frame in range(FRAMES):
        progress(frame / FRAMES)
        due = time.perf_counter() + FRAME_SECONDS
        if frame == FRAMES // 3:
            clips = cast.clips(len(cast.names) - 1, max(DEMONSTRATIONS))
            lesson = asyncio.create_task(game.adapt(npcs[learning], clips, _ignore))
        answer = await stage.frame(observe(state), action_mask(state))
        milliseconds.append(answer.milliseconds)
        adapting.append(lesson is not None and not lesson.done())
        revisions.append(answer.revisions[learning])
        state = world.step(state, answer.move, answer.choice[:, 0])
        late += time.perf_counter() > due
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    if lesson is not None:
        await lesson
    await stage.close()
    swapped = [frame for frame, revision in enumerate(revisions) if revision > revisions[0]]
    return Live(len(members), milliseconds, adapting, late, swapped[0] if swapped else -1)


def _tell(say: Callable[[str], None], event: adapt_pb2.AdaptResponse) -> None:
    """One line for an event of an adaptation."""
    kind = event.WhichOneof("response")
    if kind == "started":
        say(f"  {event.started.npc} begins with {event.started.examples} examples")
    elif kind == "accepted":
        say(f"    accepted {event.accepted.examples}, {event.accepted.total_examples} in all")
    elif kind == "progress":
        step = event.progress
        say(f"    inner step {step.step} of {step.steps} on {step.examples}: support NLL {step.support_nll:.3f}")
    else:
        say(f"    committed as revision {event.committed.revision.number}")


def _ignore(event: adapt_pb2.AdaptResponse) -> None:
    """Nobody watches."""
