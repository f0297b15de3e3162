"""Checks that an exported character does what the server's does, in onnxruntime and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from npcmeta_export.runtime import load_session
from npcmeta_server.demo.cast import Cast
from npcmeta_server.demo.game import Game

ROWS = 200


class Verified(NamedTuple):
    """How an asset compares with the server over some observations."""

    observations: int
    difference: float  # the largest, of any continuous action
    choices: float  # share of equal choices, 0 to 1


async def verify(game: Game, archetype: str, cast: Cast, files: dict[tuple[int, str], Path]) -> Verified:
    """Compares each NPC's own file with the NPC that the server acts for, on what its character saw elsewhere.

    Args:
        game: A client of the server.
        archetype: Its resource name.
        cast: The characters.
        files: From (character, NPC) to the NPC's ONNX file.
    """
    differences, equal = [0.0], [1.0]
    for (character, npc), file in files.items():
        seen = cast.task.query.observation[character, :ROWS].numpy()
        mask = cast.task.query.action_mask[character, :ROWS].numpy()
        move, choice = await game.act_once(archetype, npc, seen, mask)
        session = load_session(file)
        noise = np.zeros((len(seen), cast.family.spec.action.continuous_size + mask.shape[1]), np.float32)
        feeds = {"observation": seen, "action_mask": mask, "noise": noise}
        outputs = [entry.name for entry in session.get_outputs()]
        own = dict(
            zip(outputs, session.run(outputs, {i.name: feeds[i.name] for i in session.get_inputs()}), strict=True)
        )
        differences.append(float(np.abs(own.get("continuous_actions", move) - move).max(initial=0.0)))
        equal.append(float((own.get("discrete_actions", choice) == choice).mean()) if choice.size else 1.0)
    return Verified(len(files) * ROWS, max(differences), min(equal))
