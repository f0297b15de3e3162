"""The closed loop: a policy plays characters in the arena, and its behaviour is compared with their experts'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from npcmeta.tasks.arena import expert, statistics, world
from npcmeta.tasks.arena.geometry import Bools, Floats, Integers
from npcmeta.tasks.arena.observe import observe
from npcmeta.tasks.arena.state import ALLIES, COVER_RADIUS, HALF_SIZE, NPC, PLAYER, THREATS, State, action_mask, reset

ARENAS = 64
TICKS = 300

Policy = Callable[[Floats, Bools, int], tuple[Floats, Integers]]
"""(observation [M, O], action mask [M, 5], tick) -> (moves [M, 2], choices [M]).

M = characters * arenas rows, character-major: row `c * arenas + a` is character c in arena a.
"""


class Trajectory(NamedTuple):
    """What a picture of one arena needs: L ticks, metres, the middle of the arena at the origin."""

    npc: Floats  # [L, 2]
    player: Floats  # [L, 2]
    allies: Floats  # [L, 2, 2] tick, ally, (x, y)
    threats: Floats  # [L, 3, 2]
    threat_present: Bools  # [L, 3] False while a beaten threat is away
    items: Floats  # [L, 3, 2]
    health: Floats  # [L] of the NPC
    choice: Integers  # [L] index into `state.CHOICES`
    post: Floats  # [2]
    covers: Floats  # [4, 2]
    cover_radius: float
    half_size: float


class Played(NamedTuple):
    """How T characters were played."""

    quantities: np.ndarray  # [T, 17] means of `statistics.QUANTITIES`
    game_return: np.ndarray  # [T] mean over arenas of the summed reward
    trajectories: dict[int, Trajectory]  # by watched row


class Reference(NamedTuple):
    """The experts' own play, to measure policies against."""

    personality: Floats  # [T, 12]
    quantities: np.ndarray  # [T, 17]
    game_return: np.ndarray  # [T]
    spread: np.ndarray  # [17] standard deviation between characters
    noise_floor: np.ndarray  # [T] the experts' difference from themselves with other noise
    arenas: int
    ticks: int
    seed: int


def play(
    policy: Policy,
    characters: int,
    *,
    arenas: int = ARENAS,
    ticks: int = TICKS,
    seed: int = 0,
    watch: Sequence[int] = (),
) -> Played:
    """Runs a policy for `characters` characters, each in the same `arenas` seeded arenas.

    Args:
        policy: Decides for all rows at once; see `Policy` for their order.
        characters: How many characters the rows belong to.
        arenas: Arenas of each character.
        ticks: Length in steps of 0.1 seconds; arenas whose episode (60 seconds) ends begin a new one.
        seed: Of the arenas.
        watch: Rows whose trajectories are kept.
    """
    state = _same_arenas(characters, arenas, seed)
    tally = statistics.Tally(characters * arenas)
    total = np.zeros(characters * arenas)
    seen: list[State] = []
    for tick in range(ticks):
        move, choice = policy(observe(state), action_mask(state), tick)
        after = world.step(state, np.asarray(move, np.float32), np.asarray(choice, np.int64).reshape(-1))
        tally.add(state, after)
        total += after.reward
        if len(watch):
            seen.append(_each_array(after, lambda array: array[..., list(watch)]))
        state = after
    trajectories = {row: _trajectory(seen, position) for position, row in enumerate(watch)}
    return Played(tally.means(characters), total.reshape(characters, arenas).mean(1), trajectories)


def expert_policy(personality: Floats, *, arenas: int = ARENAS, seed: int = 0) -> Policy:
    """The experts of characters [T, 12] as a policy over T * `arenas` rows; call it with rising ticks, once each."""
    rng = np.random.default_rng([23, seed])
    rows = np.repeat(personality, arenas, 0)

    def policy(observation: Floats, mask: Bools, tick: int) -> tuple[Floats, Integers]:
        return expert.act(observation, mask, rows, expert.draw_noise(rng, len(rows)))

    return policy


def expert_reference(
    personality: Floats, *, arenas: int = ARENAS, ticks: int = TICKS, seed: int = 0, spread: np.ndarray | None = None
) -> Reference:
    """Plays the experts twice in the arenas that policies are judged in, with other draws of their own noise.

    So an expert's copy is at distance zero on average, and what is subtracted from a policy's distance is no more
    than chance. `spread` is the standard deviation of each quantity between characters; by default, between these.
    """
    count = len(personality)
    own, other = (
        play(expert_policy(personality, arenas=arenas, seed=noise), count, arenas=arenas, ticks=ticks, seed=seed)
        for noise in (seed, seed + 1_000_003)
    )
    spread = statistics.spread_between(own.quantities) if spread is None else spread
    floor = statistics.behaviour_difference(other.quantities, own.quantities, spread)
    return Reference(personality, own.quantities, own.game_return, spread, floor, arenas, ticks, seed)


def behaviour_distance(played: Played, reference: Reference) -> np.ndarray:
    """D of each character [T]: how far its play is from its expert's, less what the expert differs from itself."""
    difference = statistics.behaviour_difference(played.quantities, reference.quantities, reference.spread)
    distance: np.ndarray = difference - reference.noise_floor
    return distance


def play_like(reference: Reference, policy: Policy, *, watch: Sequence[int] = ()) -> Played:
    """Plays a policy exactly where and as long as the reference's experts played."""
    count, r = len(reference.personality), reference
    return play(policy, count, arenas=r.arenas, ticks=r.ticks, seed=r.seed, watch=watch)


def _same_arenas(characters: int, arenas: int, seed: int) -> State:
    """The same `arenas` arenas for every character, rows character-major."""
    one = reset(np.random.default_rng([24, seed]), arenas)
    return _each_array(one, lambda array: np.tile(array, characters))


def _each_array(state: State, function: Callable[[np.ndarray], Any]) -> State:
    return State(*(function(array) for array in state))


def _trajectory(seen: list[State], row: int) -> Trajectory:
    x, y = (np.stack([getattr(state, axis)[:, row] for state in seen]) for axis in ("x", "y"))
    place = np.stack([x, y], -1)
    return Trajectory(
        npc=place[:, NPC],
        player=place[:, PLAYER],
        allies=place[:, ALLIES],
        threats=place[:, THREATS],
        threat_present=np.stack([state.absent[:, row] <= 0 for state in seen]),
        items=np.stack([state.item[:, :, row].T for state in seen]),
        health=np.array([state.health[NPC, row] for state in seen]),
        choice=np.array([state.choice[row] for state in seen]),
        post=seen[0].post[:, row],
        covers=seen[0].cover[:, :, row].T,
        cover_radius=COVER_RADIUS,
        half_size=HALF_SIZE,
    )
