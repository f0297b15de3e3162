"""The arena: a top-down place of 20 by 20 metres at 10 Hz, as pure functions over many arenas at once.

An NPC (whom a policy controls) keeps a post, beside a player, two allies, three threats, round cover pieces that
block line of sight, and items to collect. `reset(rng, num_arenas) -> State` is in `state`, here is
`step(state, move, choice) -> State`.
"""

from __future__ import annotations

import numpy as np

from npcmeta.tasks.arena import geometry, others
from npcmeta.tasks.arena.geometry import Bools, Floats, Integers, nearest
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
    reset_from_seeds,
)


def step(state: State, move: Floats, choice: Integers) -> State:
    """Advances every arena by one tick (0.1 seconds); arenas whose episode is over begin a new one.

    Args:
        state: Where things stand.
        move: [A, 2] in [-1, 1]; longer than 1 is shortened to 1.
        choice: [A] index into `CHOICES`. A choice that the mask forbids does nothing.
    """
    allowed = action_mask(state)[np.arange(len(choice)), choice]
    choice = np.where(allowed, choice, NOTHING)
    move = np.ascontiguousarray(np.clip(move, -1, 1).astype(np.float32, copy=False).T)
    state = _walk(_attack(_tick(state), choice == ATTACK), move)
    state = _remember(_interact(state, choice == INTERACT), choice)
    state = look(_respawn(others.step(state)))
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


def _walk(state: State, move: Floats) -> State:
    """The NPC moves; slowly while it blocks."""
    slowed = np.where(state.since[SINCE_BLOCK] < BLOCK_SECONDS, np.float32(0.4), np.float32(1))
    reach = np.float32(NPC_SPEED) * SECONDS * slowed / np.maximum(geometry.length(move[0], move[1]), 1)
    x, y = state.x.copy(), state.y.copy()
    x[NPC] += move[0] * reach
    y[NPC] += move[1] * reach
    return state._replace(x=x, y=y, move=move)


def _attack(state: State, attack: Bools) -> State:
    """Blows hit the nearest threat in sight, the harder the nearer it is."""
    target, arenas = 4 + np.maximum(state.aim, 0), np.arange(len(attack))
    health, cooldown = state.health.copy(), state.cooldown.copy()
    strength = np.float32(0.22) - np.float32(0.02) * np.minimum(state.aim_distance, np.float32(ATTACK_RANGE))
    damage = np.where(attack, np.minimum(strength, health[target, arenas]), np.float32(0))
    health[target, arenas] -= damage
    cooldown[NPC][attack] = COOLDOWN[ATTACK]
    return state._replace(health=health, cooldown=cooldown, reward=state.reward + damage)


def _interact(state: State, interact: Bools) -> State:
    """Takes an item within reach (another appears elsewhere), and helps a hurt player within reach."""
    health, item, reward = state.health.copy(), state.item, state.reward.copy()
    helped = interact & can_help(state)
    health[PLAYER][helped] = np.minimum(health[PLAYER][helped] + np.float32(0.4), 1)
    reward[helped] += np.float32(0.5)
    distance = item_distance(state)
    closest, least = nearest(distance)
    taken = np.flatnonzero(interact & (least < REACH))
    if len(taken):
        item = item.copy()
        item[:, closest[taken], taken] = (_uniform_now(state, taken, salt=2) * 2 - 1) * np.float32(0.85 * HALF_SIZE)
        health[NPC, taken] = np.minimum(health[NPC, taken] + np.float32(0.15), 1)
        reward[taken] += np.float32(0.3)
    return state._replace(health=health, item=item, reward=reward)


def _remember(state: State, choice: Integers) -> State:
    """Notes what was chosen, when, and what it cost."""
    since = state.since.copy()
    for event, kind in ((SINCE_ATTACK, ATTACK), (SINCE_BLOCK, BLOCK), (SINCE_CALL, CALL), (SINCE_INTERACT, INTERACT)):
        since[event][choice == kind] = 0
    block, call = choice == BLOCK, choice == CALL
    spent = np.float32(STAMINA_COST[ATTACK]) * (choice == ATTACK) + np.float32(STAMINA_COST[BLOCK]) * block
    return state._replace(
        since=since,
        choice=choice,
        stamina=state.stamina - spent,
        block_cooldown=np.where(block, np.float32(COOLDOWN[BLOCK]), state.block_cooldown),
        call_cooldown=np.where(call, np.float32(COOLDOWN[CALL]), state.call_cooldown),
    )


def _uniform_now(state: State, rows: Integers, salt: int) -> Floats:
    """Two random numbers [2, rows] for something that happens in some arenas at this tick."""
    return geometry.uniform(state.seed[rows], state.tick[rows] + 5000 * state.episode[rows], 2, salt)


def _respawn(state: State) -> State:
    """Beaten threats leave and come back at the edge; a beaten NPC comes back at its post."""
    beaten = state.health[THREATS] <= 1e-4
    fallen = state.health[NPC] <= 1e-4
    if not (beaten.any() or fallen.any()):
        return state
    x, y, health, absent = state.x.copy(), state.y.copy(), state.health.copy(), state.absent.copy()
    which, arena = np.nonzero(beaten)
    u = _uniform_now(state, arena, salt=3)
    angle, rim = u[0] * np.float32(2 * np.pi), np.float32(0.98 * HALF_SIZE)
    x[4 + which, arena], y[4 + which, arena] = np.cos(angle) * rim, np.sin(angle) * rim
    health[4 + which, arena] = 1
    absent[which, arena] = 1 + u[1] * 3
    x[NPC], y[NPC] = np.where(fallen, state.post[0], x[NPC]), np.where(fallen, state.post[1], y[NPC])
    health[NPC][fallen] = 1
    return state._replace(x=x, y=y, health=health, absent=absent, reward=state.reward - fallen.astype(np.float32))


def _begin_again(state: State, rows: Integers) -> State:
    """New episodes for some arenas; the others stay as they are."""
    fresh = reset_from_seeds(state.seed[rows], state.episode[rows] + 1)
    merged = []
    for old, new in zip(state, fresh, strict=True):
        value = old.copy()
        value[..., rows] = new
        merged.append(value)
    return State(*merged)._replace(reward=state.reward)
