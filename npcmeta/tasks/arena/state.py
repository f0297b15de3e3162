"""What an arena is made of: its measures, its state, how it begins, and what can be asked of it.

Every array of a state has the arenas on its last axis, and all randomness follows from the arena's seed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npcmeta.tasks.arena import geometry
from npcmeta.tasks.arena.geometry import Bools, Floats, Integers, nearest, pick
from npcmeta.types import ActionSpec

TICK_RATE_HZ = 10.0
SECONDS = np.float32(1 / TICK_RATE_HZ)
HALF_SIZE = 10.0
EPISODE_TICKS = 600
ACTION = ActionSpec(2, (5,))
CHOICES = ("nothing", "attack", "block", "interact", "call")
NOTHING, ATTACK, BLOCK, INTERACT, CALL = range(5)

NPC, PLAYER = 0, 1
ALLIES, THREATS, FRIENDS = slice(2, 4), slice(4, 7), slice(0, 4)
NUM_AGENTS, NUM_THREATS, NUM_COVERS, NUM_ITEMS = 7, 3, 4, 3

EVENTS = ("own_attack", "own_block", "own_call", "own_interact", "hit", "threat_seen", "threat_appeared", "player_hit")
SINCE_ATTACK, SINCE_BLOCK, SINCE_CALL, SINCE_INTERACT, SINCE_HIT, SINCE_SEEN, SINCE_APPEARED, SINCE_PLAYER_HIT = range(
    8
)
MAX_SINCE = 10.0

READY = np.float32(0.5) * SECONDS
"""Less than this left of a cooldown is nothing: time runs in ticks, and float32 leaves crumbs."""
NPC_SPEED = 4.0  # metres a second
COVER_RADIUS = 1.1
SIGHT = 11.0
ATTACK_RANGE = 6.0
NOWHERE = np.float32(1e3)
"""The distance of what cannot be seen."""
REACH = 1.6
BLOCK_SECONDS = 0.5
COOLDOWN = {ATTACK: 0.5, BLOCK: 0.8, CALL: 3.0}
STAMINA_COST = {ATTACK: 0.07, BLOCK: 0.06}


class State(NamedTuple):
    """A arenas. Agents: 0 the NPC, 1 the player, 2-3 allies, 4-6 threats. Metres and seconds."""

    seed: Integers  # [A] uint32
    tick: Integers  # [A] int32 since the episode began
    episode: Integers  # [A] int32
    x: Floats  # [7, A]
    y: Floats  # [7, A]
    health: Floats  # [7, A] in [0, 1]
    cooldown: Floats  # [7, A] until an agent can attack again
    windup: Floats  # [3, A] until a threat's blow falls; 0 = it is not striking
    absent: Floats  # [3, A] until a beaten threat comes back; 0 = it is there
    stamina: Floats  # [A] in [0, 1]
    block_cooldown: Floats  # [A]
    call_cooldown: Floats  # [A]
    cover: Floats  # [2, 4, A]
    item: Floats  # [2, 3, A]
    post: Floats  # [2, A]
    visible: Bools  # [3, A] threats that see the NPC, and it them
    aim: Integers  # [A] int64 the nearest visible threat, 0-2; -1 = none
    aim_distance: Floats  # [A] how far it is; far away when there is none
    last_threat: Floats  # [2, A] where the nearest visible threat is, or was when last seen
    since: Floats  # [8, A] since the events of `EVENTS`, at most `MAX_SINCE`
    move: Floats  # [2, A] the NPC's last move
    choice: Integers  # [A] the NPC's last choice
    reward: Floats  # [A] of the last step


def reset(rng: np.random.Generator, num_arenas: int) -> State:
    """Begins `num_arenas` different arenas."""
    return reset_from_seeds(rng.integers(0, 2**32, num_arenas, dtype=np.uint32))


def reset_from_seeds(seeds: Integers, episode: Integers | None = None) -> State:
    """Begins one arena for each seed [A]; the same seed and episode give the same arena."""
    a = len(seeds)
    episode = np.zeros(a, np.int32) if episode is None else episode
    u = geometry.uniform(seeds, episode, 52, salt=1)
    spread = (u * 2 - 1) * np.float32(0.85 * HALF_SIZE)
    post = spread[0:2] * np.float32(0.5)
    x, y = spread[2:9], spread[9:16]
    # Everybody begins within a few seconds of the post, so that short clips show something.
    x, y = post[0] + (x - post[0]) * np.float32(0.8), post[1] + (y - post[1]) * np.float32(0.8)
    cover = post[:, None] + (spread[16:24].reshape(2, NUM_COVERS, a) - post[:, None]) * np.float32(0.75)
    x, y = geometry.push_out(x, y, cover, COVER_RADIUS)
    health = np.float32(0.5) + np.float32(0.5) * u[24:31]
    since = np.minimum(u[40:48] * np.float32(2 * MAX_SINCE), np.float32(MAX_SINCE))
    zeros = np.zeros((NUM_AGENTS, a), np.float32)
    state = State(
        seed=seeds, tick=np.zeros(a, np.int32), episode=episode, x=x, y=y, health=health,
        cooldown=zeros, windup=zeros[:3], absent=zeros[:3], stamina=np.float32(0.3) + np.float32(0.7) * u[31],
        block_cooldown=zeros[0], call_cooldown=zeros[0], cover=cover, item=spread[32:38].reshape(2, NUM_ITEMS, a),
        post=post, visible=np.zeros((3, a), bool), aim=np.full(a, -1), aim_distance=zeros[0],
        last_threat=np.stack([x[4], y[4]]), since=since, move=zeros[:2], choice=np.zeros(a, np.int64), reward=zeros[0],
    )  # fmt: skip
    return look(state)


def action_mask(state: State) -> Bools:
    """Which choices are allowed now, [A, 5]: cooldown, stamina, somebody in range, something to interact with."""
    mask = np.ones((len(CHOICES), len(state.seed)), bool)
    mask[ATTACK] = (state.aim_distance < ATTACK_RANGE) & (state.cooldown[NPC] < READY)
    mask[ATTACK] &= state.stamina >= STAMINA_COST[ATTACK]
    mask[BLOCK] = (state.block_cooldown < READY) & (state.stamina >= STAMINA_COST[BLOCK])
    mask[INTERACT] = (item_distance(state).min(0) < REACH) | can_help(state)
    mask[CALL] = state.call_cooldown < READY
    return np.ascontiguousarray(mask.T)


def item_distance(state: State) -> Floats:
    """Distance of the NPC to every item, [3, A]."""
    return geometry.length(state.item[0] - state.x[NPC], state.item[1] - state.y[NPC])


def can_help(state: State) -> Bools:
    """The player is hurt and within reach."""
    off = geometry.length(state.x[PLAYER] - state.x[NPC], state.y[PLAYER] - state.y[NPC])
    return (off < REACH) & (state.health[PLAYER] < 0.6)


def look(state: State) -> State:
    """Renews who sees whom, and what follows from it."""
    x, y = state.x, state.y
    seen = geometry.line_of_sight(x[NPC], y[NPC], x[THREATS], y[THREATS], state.cover, COVER_RADIUS)
    distance = geometry.length(x[THREATS] - x[NPC], y[THREATS] - y[NPC])
    visible = seen & (distance < SIGHT) & (state.absent <= 0)
    target, least = nearest(np.where(visible, distance, NOWHERE))
    some = least < NOWHERE
    since = state.since.copy()
    since[SINCE_APPEARED][some & (state.since[SINCE_SEEN] > 1)] = 0
    since[SINCE_SEEN][some] = 0
    place = np.stack([pick(x[THREATS], target), pick(y[THREATS], target)])
    return state._replace(
        visible=visible,
        aim=np.where(some, target, -1),
        aim_distance=least,
        since=since,
        last_threat=np.where(some, place, state.last_threat),
    )
