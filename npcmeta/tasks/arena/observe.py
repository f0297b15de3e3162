"""What the NPC sees: one egocentric vector, with its own last action and the times since the last events."""

from __future__ import annotations

import numpy as np

from npcmeta.tasks.arena import geometry
from npcmeta.tasks.arena.geometry import Floats, nearest, pick
from npcmeta.tasks.arena.state import (
    ALLIES,
    BLOCK,
    CALL,
    CHOICES,
    COOLDOWN,
    COVER_RADIUS,
    EVENTS,
    HALF_SIZE,
    NOWHERE,
    NPC,
    PLAYER,
    THREATS,
    State,
    item_distance,
)
from npcmeta.tasks.arena.state import ATTACK as ATTACK_CHOICE

RANGE = 12.0
"""Distances are observed as metres / RANGE, at most 1."""
WINDUP_RANGE = 0.6
HIDING_DISTANCE = 0.9


def _place(name: str, *more: str) -> list[str]:
    return [f"{name}_x", f"{name}_y", f"{name}_distance", *(f"{name}_{extra}" for extra in more)]


FEATURES: tuple[str, ...] = (
    "own_x", "own_y", "health", "stamina", "attack_cooldown", "block_cooldown", "call_cooldown", "in_cover",
    *_place("post"),
    *_place("threat", "visible", "health", "windup"),
    *_place("second_threat", "visible", "windup"),
    "threats_visible",
    *_place("player", "health", "hurt"),
    *_place("ally"),
    *_place("hiding"),
    *_place("item"),
    "last_move_x", "last_move_y",
    *(f"last_{choice}" for choice in CHOICES),
    *(f"since_{event}" for event in EVENTS),
)  # fmt: skip
"""Names of the observation's numbers, in order. `_x`, `_y` of a place are a unit vector towards it."""
OBSERVATION_SIZE = len(FEATURES)
INDEX = {name: index for index, name in enumerate(FEATURES)}


def observe(state: State) -> Floats:
    """The observation of every arena's NPC, [A, O] float32; every number lies in [-1, 1].

    A place is a unit vector in the arena's axes and a distance / 12 m. `threat` is the nearest visible one, or
    where one was last seen (`threat_visible` tells); an unseen second threat is zeros at distance 1. `hiding` is
    the nearest point behind cover from that threat. Times since events are t / (t + 1) with t in seconds.
    """
    out = np.empty((OBSERVATION_SIZE, len(state.seed)), np.float32)
    out[0:2] = np.stack([state.x[NPC], state.y[NPC]]) / np.float32(HALF_SIZE)
    out[2] = state.health[NPC]
    out[3] = state.stamina
    out[4] = state.cooldown[NPC] / COOLDOWN[ATTACK_CHOICE]
    out[5] = state.block_cooldown / COOLDOWN[BLOCK]
    out[6] = state.call_cooldown / COOLDOWN[CALL]
    _write_place(out, "post", state, state.post[0], state.post[1])
    _write_threats(out, state)
    _write_place(out, "player", state, state.x[PLAYER], state.y[PLAYER])
    out[INDEX["player_health"]] = state.health[PLAYER]
    out[INDEX["player_hurt"]] = state.health[PLAYER] < 0.6
    _write_ally_and_item(out, state)
    _write_hiding(out, state)
    first = INDEX["last_move_x"]
    out[first : first + 2] = state.move
    out[first + 2 : first + 7] = state.choice == np.arange(5)[:, None]
    out[first + 7 :] = state.since / (state.since + 1)
    return np.ascontiguousarray(out.T)


def _write_place(out: Floats, name: str, state: State, x: Floats, y: Floats) -> None:
    """Writes the unit vector and the distance from the NPC to (x, y)."""
    at = INDEX[f"{name}_x"]
    out[at], out[at + 1], distance = geometry.direction(x - state.x[NPC], y - state.y[NPC])
    out[at + 2] = np.minimum(distance * np.float32(1 / RANGE), 1)


def _write_threats(out: Floats, state: State) -> None:
    """The two nearest visible threats; the first is remembered where it was last seen."""
    arenas, first = np.arange(len(state.seed)), np.maximum(state.aim, 0)
    _write_place(out, "threat", state, state.last_threat[0], state.last_threat[1])
    at = INDEX["threat_x"]
    visible = out[at + 3]
    visible[:] = state.aim >= 0
    out[at + 4] = state.health[4 + first, arenas] * visible
    out[at + 5] = state.windup[first, arenas] * visible / np.float32(WINDUP_RANGE)

    distance = geometry.length(state.x[THREATS] - state.x[NPC], state.y[THREATS] - state.y[NPC])
    distance = np.where(state.visible, distance, NOWHERE)
    distance[first, arenas] = NOWHERE
    second, second_distance = nearest(distance)
    seen = second_distance < NOWHERE
    _write_place(out, "second_threat", state, state.x[4 + second, arenas], state.y[4 + second, arenas])
    at = INDEX["second_threat_x"]
    out[at : at + 2] *= seen
    out[at + 2] = np.where(seen, out[at + 2], 1)
    out[at + 3] = seen
    out[at + 4] = state.windup[second, arenas] * seen / np.float32(WINDUP_RANGE)
    out[at + 5] = state.visible.sum(0) / np.float32(3)


def _write_ally_and_item(out: Floats, state: State) -> None:
    """The nearest ally, and the nearest item."""
    arenas = np.arange(len(state.seed))
    distance = geometry.length(state.x[ALLIES] - state.x[NPC], state.y[ALLIES] - state.y[NPC])
    ally = 2 + nearest(distance)[0]
    _write_place(out, "ally", state, state.x[ally, arenas], state.y[ally, arenas])
    item, _ = nearest(item_distance(state))
    _write_place(out, "item", state, state.item[0, item, arenas], state.item[1, item, arenas])


def _write_hiding(out: Floats, state: State) -> None:
    """The nearest point behind a cover piece, seen from the threat's last known place; and whether it hides already."""
    threat_x, threat_y = state.last_threat
    away_x, away_y, _ = geometry.direction(state.cover[0] - threat_x, state.cover[1] - threat_y)
    behind = np.float32(COVER_RADIUS + HIDING_DISTANCE)
    x, y = state.cover[0] + away_x * behind, state.cover[1] + away_y * behind
    closest, _ = nearest(geometry.length(x - state.x[NPC], y - state.y[NPC]))
    _write_place(out, "hiding", state, pick(x, closest), pick(y, closest))
    out[INDEX["in_cover"]] = in_cover(state)


def in_cover(state: State) -> np.ndarray:
    """Whether the NPC is beside a cover piece with no threat in sight, [A] bool."""
    off = geometry.length(state.cover[0] - state.x[NPC], state.cover[1] - state.y[NPC]).min(0)
    return (off < COVER_RADIUS + 1.2) & ~state.visible.any(0)
