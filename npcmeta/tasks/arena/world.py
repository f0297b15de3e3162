"""The arena: a top-down place of 20 by 20 metres at 10 Hz, as pure functions over many arenas at once.

An NPC (whom a policy controls) keeps a post, beside a player, two allies, three threats, round cover pieces that
block line of sight, and items to collect. `reset(rng, num_arenas) -> State` is in `state`, here is
`step(state, move, choice) -> State`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from npcmeta.tasks.arena import geometry, others
from npcmeta.tasks.arena.geometry import Floats, pick
from npcmeta.tasks.arena.state import (
    ATTACK,
    ATTACK_RANGE,
    BLOCK,
    BLOCK_SECONDS,
    CALL,
    COOLDOWN,
    EPISODE_TICKS,
    HALF_SIZE,
    INTERACT,
    MAX_SINCE,
    NOTHING,
    NPC,
    NPC_SPEED,
    PLAYER,
    REACH,
    SECONDS,
    SINCE_ATTACK,
    SINCE_BLOCK,
    SINCE_CALL,
    SINCE_INTERACT,
    STAMINA_COST,
    THREATS,
    State,
    action_mask,
    can_help,
    item_distance,
    look,
    nearest_target,
    reset_from_seeds,
)


def step(state: State, move: Floats, choice: NDArray[np.int64]) -> State:
    """Advances every arena by one tick (0.1 seconds); arenas whose episode is over begin a new one.

    Args:
        state: Where things stand.
        move: [A, 2] in [-1, 1]; longer than 1 is shortened to 1.
        choice: [A] index into `CHOICES`. A choice that the mask forbids does nothing.
    """
    allowed = np.take_along_axis(action_mask(state), choice[:, None], 1)[:, 0]
    choice = np.where(allowed, choice, NOTHING)
    move = np.ascontiguousarray(np.clip(move, -1, 1).astype(np.float32, copy=False).T)
    state = _act(_tick(state), move, choice)
    state = others.step(state)
    state = look(_respawn(state))
    over = np.flatnonzero(state.tick >= EPISODE_TICKS)
    return _begin_again(state, over) if len(over) else state


def _tick(state: State) -> State:
    """Time passes: cooldowns run down, strength comes back."""
    recover = np.array([0.015, 0.05, 0.05, 0.05, 0.0, 0.0, 0.0], np.float32)[:, None] * SECONDS
    return state._replace(
        tick=state.tick + 1,
        health=np.minimum(state.health + recover, 1),
        cooldown=np.maximum(state.cooldown - SECONDS, 0),
        absent=np.maximum(state.absent - SECONDS, 0),
        stamina=np.minimum(state.stamina + np.float32(0.15) * SECONDS, 1),
        block_cooldown=np.maximum(state.block_cooldown - SECONDS, 0),
        call_cooldown=np.maximum(state.call_cooldown - SECONDS, 0),
        since=np.minimum(state.since + SECONDS, np.float32(MAX_SINCE)),
        reward=np.zeros_like(state.reward),
    )


def _act(state: State, move: Floats, choice: NDArray[np.int64]) -> State:
    """The NPC moves and does what it chose."""
    a = np.arange(len(choice))
    attack, block, interact, call = (choice == kind for kind in (ATTACK, BLOCK, INTERACT, CALL))
    size = geometry.length(move[0], move[1])
    slowed = np.where(state.since[SINCE_BLOCK] < BLOCK_SECONDS, np.float32(0.4), np.float32(1))
    reach = np.float32(NPC_SPEED) * SECONDS * slowed / np.maximum(size, 1)
    x, y, health, item, since = state.x.copy(), state.y.copy(), state.health.copy(), state.item, state.since.copy()
    x[NPC] += move[0] * reach
    y[NPC] += move[1] * reach

    aim, distance = nearest_target(state)
    damage = np.where(attack, np.float32(0.22) - np.float32(0.02) * np.minimum(distance, ATTACK_RANGE), 0)
    damage = np.minimum(damage, health[4 + aim, a])
    health[4 + np.maximum(aim, 0), a] -= damage.astype(np.float32)

    off = item_distance(state)
    nearest = off.argmin(0)
    taken = np.flatnonzero(interact & (pick(off, nearest) < REACH))
    if len(taken):
        item = item.copy()
        fresh = geometry.uniform(state.seed[taken], state.tick[taken] + 5000 * state.episode[taken], 2, salt=2)
        item[:, nearest[taken], taken] = (fresh * 2 - 1) * np.float32(0.85 * HALF_SIZE)
        health[NPC, taken] = np.minimum(health[NPC, taken] + np.float32(0.15), 1)
    helped = interact & can_help(state)
    health[PLAYER] = np.where(helped, np.minimum(health[PLAYER] + np.float32(0.4), 1), health[PLAYER])

    for event, kind in ((SINCE_ATTACK, ATTACK), (SINCE_BLOCK, BLOCK), (SINCE_CALL, CALL), (SINCE_INTERACT, INTERACT)):
        since[event][choice == kind] = 0
    cooldown = state.cooldown.copy()
    cooldown[NPC][attack] = COOLDOWN[ATTACK]
    reward = damage + np.float32(0.5) * helped
    reward[taken] += np.float32(0.3)
    spent = np.float32(STAMINA_COST[ATTACK]) * attack + np.float32(STAMINA_COST[BLOCK]) * block
    return state._replace(
        x=x, y=y, health=health, item=item, since=since, cooldown=cooldown, move=move, choice=choice,
        reward=reward.astype(np.float32), stamina=state.stamina - spent.astype(np.float32),
        block_cooldown=np.where(block, np.float32(COOLDOWN[BLOCK]), state.block_cooldown),
        call_cooldown=np.where(call, np.float32(COOLDOWN[CALL]), state.call_cooldown),
    )  # fmt: skip


def _respawn(state: State) -> State:
    """Beaten threats leave and come back at the edge; a beaten NPC comes back at its post."""
    beaten = state.health[THREATS] <= 1e-4
    fallen = state.health[NPC] <= 1e-4
    if not (beaten.any() or fallen.any()):
        return state
    x, y, health, absent = state.x.copy(), state.y.copy(), state.health.copy(), state.absent.copy()
    which, arena = np.nonzero(beaten)
    u = geometry.uniform(state.seed[arena], state.tick[arena] + 5000 * state.episode[arena], 2, salt=3)
    angle, rim = u[0] * np.float32(2 * np.pi), np.float32(0.98 * HALF_SIZE)
    x[4 + which, arena], y[4 + which, arena] = np.cos(angle) * rim, np.sin(angle) * rim
    health[4 + which, arena] = 1
    absent[which, arena] = 1 + u[1] * 3
    x[NPC], y[NPC] = np.where(fallen, state.post[0], x[NPC]), np.where(fallen, state.post[1], y[NPC])
    health[NPC][fallen] = 1
    return state._replace(x=x, y=y, health=health, absent=absent, reward=state.reward - fallen.astype(np.float32))


def _begin_again(state: State, rows: NDArray[np.intp]) -> State:
    """New episodes for some arenas; the others stay as they are."""
    fresh = reset_from_seeds(state.seed[rows], state.episode[rows] + 1)
    merged = []
    for old, new in zip(state, fresh, strict=True):
        value = old.copy()
        value[..., rows] = new
        merged.append(value)
    return State(*merged)._replace(reward=state.reward)
