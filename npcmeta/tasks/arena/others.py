"""Everybody in the arena but the NPC, scripted: the player, its allies, and the threats.

The player wanders, fights or rests by turns, and when badly hurt stands still and needs help. One ally keeps to the
player, one patrols around the post; both fight what comes near, and come when the NPC calls. A threat hunts the
nearest whom it can reach (now and then it rests), winds up for half a second in plain sight, and strikes.
"""

from __future__ import annotations

import numpy as np

from npcmeta.tasks.arena import geometry
from npcmeta.tasks.arena.geometry import Bools, Floats, Integers, nearest, pick
from npcmeta.tasks.arena.state import (
    BLOCK_SECONDS,
    COVER_RADIUS,
    FRIENDS,
    HALF_SIZE,
    NPC,
    PLAYER,
    READY,
    SECONDS,
    SINCE_BLOCK,
    SINCE_CALL,
    SINCE_HIT,
    SINCE_PLAYER_HIT,
    THREATS,
    State,
)

WINDUP_SECONDS = 0.6
STRIKE_RANGE = 1.7
STRIKE_DAMAGE = 0.11
HUNTING_RANGE = 9.0
RESTING = 0.3
"""Share of its time that a threat hunts nobody."""
FRIEND_RANGE = 2.5
FRIEND_DAMAGE = 0.06
HURT = 0.3
"""Health below which the player stands still and needs help."""


def step(state: State) -> State:
    """Moves and fights of the player, the allies and the threats, for one tick."""
    gap = _gaps(state)
    prey = _prey(state, gap)
    walk_x, walk_y = _walk(state, gap, prey)
    x, y = state.x.copy(), state.y.copy()
    x[PLAYER:] += walk_x * SECONDS
    y[PLAYER:] += walk_y * SECONDS
    x, y = geometry.push_out(x, y, state.cover, COVER_RADIUS)
    limit = np.float32(HALF_SIZE)
    state = state._replace(x=np.clip(x, -limit, limit), y=np.clip(y, -limit, limit))
    return _strike(_friends_fight(state, gap), gap, prey)


def _gaps(state: State) -> Floats:
    """Distance of every threat to every friend, [3, 4, A]."""
    off_x = state.x[THREATS][:, None] - state.x[FRIENDS][None]
    off_y = state.y[THREATS][:, None] - state.y[FRIENDS][None]
    return geometry.length(off_x, off_y)


def _prey(state: State, gap: Floats) -> Integers:
    """Whom each threat is after, [3, A]: the nearest who stands; the NPC only when seen. -1 = nobody."""
    wish = np.where((state.health[FRIENDS] > 0.12)[None], gap, np.float32(99))
    wish[:, NPC] = np.where(state.visible, wish[:, NPC] - 1, np.float32(99))
    prey, distance = nearest(wish.swapaxes(0, 1))
    mood = geometry.uniform(state.seed, (state.tick + 30) // 60 + 100 * state.episode, 3, salt=6)
    return np.where((distance < HUNTING_RANGE) & (state.absent <= 0) & (mood > RESTING), prey, -1)


def _walk(state: State, gap: Floats, prey: Integers) -> tuple[Floats, Floats]:
    """Velocities of agents 1 to 6 in metres a second, [6, A] each."""
    goal_x, goal_y = _waypoints(state)
    stop = np.full_like(goal_x, 0.3)
    speed = np.empty_like(goal_x)
    _send_friends(state, gap, goal_x, goal_y, stop)
    speed[0:3] = np.where(state.health[1:4] < HURT, 0, np.float32(2.6))
    arenas, hunts = np.arange(prey.shape[1]), prey >= 0
    goal_x[3:] = np.where(hunts, state.x[np.maximum(prey, 0), arenas], goal_x[3:])
    goal_y[3:] = np.where(hunts, state.y[np.maximum(prey, 0), arenas], goal_y[3:])
    stop[3:] = np.where(hunts, np.float32(1.1), stop[3:])
    speed[3:] = np.where((state.windup > 0) | (state.absent > 0), 0, np.float32(2.1))
    to_x, to_y, distance = geometry.direction(goal_x - state.x[PLAYER:], goal_y - state.y[PLAYER:])
    pace = speed * np.clip(2 * (distance - stop), 0, 1)
    return to_x * pace, to_y * pace


def _send_friends(state: State, gap: Floats, goal_x: Floats, goal_y: Floats, stop: Floats) -> None:
    """Rewrites the goals [6, A] of the player and the allies: to a fight, or to the NPC that called."""
    mood = geometry.uniform(state.seed, state.tick // 70 + 100 * state.episode, 1, salt=5)[0]
    foe, distance = nearest(np.where(state.absent[:, None] > 0, np.float32(99), gap))
    for row, who in enumerate((1, 2, 3)):
        fights = mood > 0.45 if who == PLAYER else distance[who] < 4.5
        goal_x[row] = np.where(fights, pick(state.x[THREATS], foe[who]), goal_x[row])
        goal_y[row] = np.where(fights, pick(state.y[THREATS], foe[who]), goal_y[row])
        stop[row] = np.where(fights, np.float32(1.8), stop[row])
    called = state.since[SINCE_CALL] < 3
    goal_x[1:3] = np.where(called, state.x[NPC], goal_x[1:3])
    goal_y[1:3] = np.where(called, state.y[NPC], goal_y[1:3])
    stop[1:3] = np.where(called, np.float32(1.5), stop[1:3])


def _waypoints(state: State) -> tuple[Floats, Floats]:
    """Where agents 1 to 6 stroll to when nothing else draws them, [6, A] each; new ones every few seconds."""
    beat = (state.tick + 13 * np.arange(6, dtype=np.int32)[:, None]) // 45 + 100 * state.episode
    beat = np.concatenate([beat, beat])
    u = (geometry.uniform(state.seed, beat, 12, salt=4) * 2 - 1) * np.float32(0.85 * HALF_SIZE)
    x, y = u[:6], u[6:]
    x[1], y[1] = state.x[PLAYER] + x[1] * np.float32(0.2), state.y[PLAYER] + y[1] * np.float32(0.2)
    x[2:] = state.post[0] + (x[2:] - state.post[0]) * np.float32(0.5)
    y[2:] = state.post[1] + (y[2:] - state.post[1]) * np.float32(0.5)
    return x, y


def _friends_fight(state: State, gap: Floats) -> State:
    """The player and the allies hit the threats within their reach."""
    reach = np.where(state.absent[:, None] > 0, np.float32(99), gap)[:, PLAYER:]
    quarry, distance = nearest(reach)
    hits = (distance < FRIEND_RANGE) & (state.cooldown[1:4] < READY) & (state.health[1:4] >= HURT)
    health, cooldown = state.health.copy(), state.cooldown.copy()
    for threat in range(3):
        damage = np.float32(FRIEND_DAMAGE) * (hits & (quarry == threat)).sum(0, dtype=np.float32)
        health[4 + threat] = np.maximum(health[4 + threat] - damage, 0)
    cooldown[1:4] = np.where(hits, np.float32(1), cooldown[1:4])
    return state._replace(health=health, cooldown=cooldown)


def _strike(state: State, gap: Floats, prey: Integers) -> State:
    """Threats wind up, and their blows fall on whom they hunt, if still in range."""
    distance = np.take_along_axis(gap, np.maximum(prey, 0)[:, None], 1)[:, 0]
    there = (prey >= 0) & (state.absent <= 0)
    falls = (state.windup > 0) & (state.windup < SECONDS + READY)
    begins = there & (distance < STRIKE_RANGE) & (state.windup <= 0) & (state.cooldown[THREATS] < READY)
    hits = falls & there & (distance < STRIKE_RANGE + 0.6)
    windup = np.where(begins, np.float32(WINDUP_SECONDS), np.maximum(state.windup - SECONDS, 0))
    windup = np.where(there & ~falls, windup, 0).astype(np.float32)
    cooldown = state.cooldown.copy()
    cooldown[THREATS] = np.where(falls, np.float32(1.0), cooldown[THREATS])
    return _wound(state._replace(windup=windup, cooldown=cooldown), hits, prey)


def _wound(state: State, hits: Bools, prey: Integers) -> State:
    """Takes health from those who were hit; a block keeps off most of it."""
    health, since = state.health.copy(), state.since.copy()
    blocked = np.where(state.since[SINCE_BLOCK] < BLOCK_SECONDS, np.float32(0.15), np.float32(1))
    for who in range(4):
        damage = np.float32(STRIKE_DAMAGE) * (hits & (prey == who)).sum(0, dtype=np.float32)
        health[who] = np.maximum(health[who] - damage * (blocked if who == NPC else 1), 0)
    since[SINCE_HIT][(hits & (prey == NPC)).any(0)] = 0
    since[SINCE_PLAYER_HIT][(hits & (prey == PLAYER)).any(0)] = 0
    lost = state.health[NPC] - health[NPC]
    at_post = geometry.length(state.x[NPC] - state.post[0], state.y[NPC] - state.post[1]) < 2
    reward = state.reward - lost + np.float32(0.02) * at_post
    return state._replace(health=health, since=since, reward=reward.astype(np.float32))
