"""The arena's world: its rules, and that the same seed gives the same game."""

import numpy as np
import pytest

from npcmeta.tasks.arena import expert, geometry, world
from npcmeta.tasks.arena.observe import FEATURES, INDEX, OBSERVATION_SIZE, observe
from npcmeta.tasks.arena.personality import personalities
from npcmeta.tasks.arena.state import (
    ATTACK,
    BLOCK,
    CALL,
    CHOICES,
    COOLDOWN,
    EPISODE_TICKS,
    HALF_SIZE,
    INTERACT,
    NOTHING,
    NPC,
    PLAYER,
    SECONDS,
    SINCE_CALL,
    THREATS,
    State,
    action_mask,
    look,
    reset,
    reset_from_seeds,
)

STILL = np.zeros((1, 2), np.float32)


def do(state: State, choice: int, move: np.ndarray | None = None) -> State:
    rows = len(state.seed)
    move = np.zeros((rows, 2), np.float32) if move is None else move
    return world.step(state, move, np.full(rows, choice))


def play(arenas: int, ticks: int, seed: int = 0) -> tuple[State, list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    state, who = reset(rng, arenas), personalities("train", arenas, seed)
    observations, masks, choices = [], [], []
    for _ in range(ticks):
        observations.append(observe(state))
        masks.append(action_mask(state))
        move, choice = expert.act(observations[-1], masks[-1], who, expert.draw_noise(rng, arenas))
        choices.append(choice)
        state = world.step(state, move, choice)
    return state, observations, masks, choices


def alone(x: float = 0.0, y: float = 0.0) -> State:
    """One arena: the NPC at (x, y), everything else at the edges, no cover in the way."""
    state = reset_from_seeds(np.array([5], np.uint32))
    far_x = np.array([[x], [9], [9], [9], [-9], [-9], [-9]], np.float32)
    far_y = np.array([[y], [-9], [-9], [-9], [9], [9], [9]], np.float32)
    cover = np.full_like(state.cover, -9)
    item = np.full_like(state.item, 9)
    return look(state._replace(x=far_x, y=far_y, cover=cover, item=item, health=np.ones_like(state.health)))


def with_threat(state: State, x: float, y: float) -> State:
    places_x, places_y = state.x.copy(), state.y.copy()
    places_x[THREATS.start], places_y[THREATS.start] = x, y
    return look(state._replace(x=places_x, y=places_y))


def test_the_same_seed_gives_the_same_game_and_another_seed_another():
    first, again, other = play(16, 60)[0], play(16, 60)[0], play(16, 60, seed=1)[0]
    for name in State._fields:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name), err_msg=name)
    assert not np.allclose(first.x, other.x)


def test_an_arena_does_not_depend_on_those_beside_it():
    seeds = np.array([3, 4, 5], np.uint32)
    together, single = reset_from_seeds(seeds), reset_from_seeds(seeds[1:2])
    for tick in range(50):
        together, single = do(together, tick % 5), do(single, tick % 5)
    for name in State._fields:
        np.testing.assert_array_equal(getattr(together, name)[..., 1:2], getattr(single, name), err_msg=name)


def test_observations_are_named_finite_and_bounded_over_a_whole_episode():
    _, observations, _, _ = play(24, EPISODE_TICKS + 20)
    seen = np.stack(observations)
    assert seen.shape == (EPISODE_TICKS + 20, 24, OBSERVATION_SIZE)
    assert seen.dtype == np.float32
    assert np.isfinite(seen).all()
    assert seen.min() >= -1 - 1e-5
    assert seen.max() <= 1 + 1e-5
    assert len(set(FEATURES)) == OBSERVATION_SIZE
    assert (seen.reshape(-1, OBSERVATION_SIZE).std(0) > 0.01).all()  # nothing is dead


def test_observation_holds_the_own_last_action():
    state = world.step(alone(), np.array([[0.5, -0.25]], np.float32), np.array([CALL]))
    seen = observe(state)[0]
    np.testing.assert_allclose(seen[INDEX["last_move_x"] :][:2], [0.5, -0.25])
    np.testing.assert_array_equal(seen[INDEX["last_nothing"] :][:5], np.arange(5) == CALL)
    assert seen[INDEX["since_own_call"]] == 0
    assert observe(do(state, NOTHING))[0][INDEX["since_own_call"]] == pytest.approx(0.1 / 1.1)


def test_everybody_stays_inside_and_out_of_cover():
    state, _, _, _ = play(64, 100)
    assert np.abs(state.x).max() <= HALF_SIZE
    assert np.abs(state.y).max() <= HALF_SIZE
    assert (state.health >= 0).all()
    assert (state.health <= 1).all()


def test_long_moves_are_shortened_so_that_nobody_outruns_the_rules():
    straight = do(alone(), NOTHING, np.array([[1, 0]], np.float32))
    diagonal = do(alone(), NOTHING, np.array([[5, 5]], np.float32))
    assert np.hypot(diagonal.x[NPC], diagonal.y[NPC]) == pytest.approx(straight.x[NPC], abs=1e-5)


def test_cover_blocks_line_of_sight():
    cover = np.array([[[3.0]], [[0.0]]], np.float32)
    zero, six = np.zeros(1, np.float32), np.full((1, 1), 6, np.float32)
    behind = geometry.line_of_sight(zero, zero, six, np.zeros((1, 1), np.float32), cover, 1.0)
    beside = geometry.line_of_sight(zero, zero, six, np.full((1, 1), 6, np.float32), cover, 1.0)
    in_front = geometry.line_of_sight(zero, zero, np.full((1, 1), 1.5, np.float32), zero[None], cover, 1.0)
    assert (behind.item(), beside.item(), in_front.item()) == (False, True, True)


def test_a_threat_behind_cover_is_neither_seen_nor_attackable():
    state = with_threat(alone(), 4, 0)
    assert action_mask(state)[0, ATTACK]
    assert observe(state)[0, INDEX["threat_visible"]] == 1
    cover = state.cover.copy()
    cover[:, 0, 0] = 2, 0
    hidden = look(state._replace(cover=cover))
    assert not action_mask(hidden)[0, ATTACK]
    assert observe(hidden)[0, INDEX["threat_visible"]] == 0


@pytest.mark.parametrize("choice", [ATTACK, BLOCK, CALL])
def test_cooldowns_last_as_long_as_they_say(choice):
    state = do(with_threat(alone(), 4, 0), choice)
    waited = 1
    while not action_mask(state)[0, choice]:
        state, waited = do(state, NOTHING), waited + 1
    assert waited * SECONDS == pytest.approx(COOLDOWN[choice] + SECONDS)


def test_a_forbidden_choice_does_nothing():
    state = alone()
    assert not action_mask(state)[0, ATTACK]
    after = do(state, ATTACK)
    assert after.choice[0] == NOTHING
    assert after.stamina[0] >= state.stamina[0]


def test_attacks_hurt_and_beaten_threats_come_back_at_the_edge():
    state = with_threat(alone(), 3, 0)
    health = state.health.copy()
    health[THREATS.start] = 0.05
    after = do(state._replace(health=health), ATTACK)
    assert after.absent[0, 0] > 0
    assert after.health[THREATS.start, 0] == 1
    assert np.hypot(after.x[THREATS.start, 0], after.y[THREATS.start, 0]) > 0.9 * HALF_SIZE
    assert after.reward[0] > 0


def test_a_threat_winds_up_in_sight_strikes_once_and_a_block_keeps_it_off():
    def lost(block_at: int | None) -> tuple[float, float]:
        state, windup = with_threat(alone(), 1.2, 0), 0.0
        for tick in range(9):
            state = do(state, BLOCK if tick == block_at else NOTHING)
            windup = max(windup, observe(state)[0, INDEX["threat_windup"]])
        return 1 - float(state.health[NPC, 0]), windup

    open_loss, windup = lost(None)
    assert windup > 0.9
    assert 0.05 < open_loss < 0.12  # one blow
    assert lost(4)[0] < 0.3 * open_loss


def test_interacting_takes_items_and_helps_a_hurt_player():
    state = alone()
    assert not action_mask(state)[0, INTERACT]
    item = state.item.copy()
    item[:, 1, 0] = 0.5, 0.5
    at_item = state._replace(item=item)
    assert action_mask(at_item)[0, INTERACT]
    assert np.abs(do(at_item, INTERACT).item[:, 1, 0] - 0.5).max() > 0.1

    x, y, health = state.x.copy(), state.y.copy(), state.health.copy()
    x[PLAYER], y[PLAYER], health[PLAYER] = 1, 0, 0.2
    hurt = state._replace(x=x, y=y, health=health)
    assert do(hurt, INTERACT).health[PLAYER, 0] > 0.55


def test_a_call_brings_the_allies():
    start = reset(np.random.default_rng(3), 100)
    quiet, called = do(start, NOTHING), do(start, CALL)
    for _ in range(20):
        quiet, called = do(quiet, NOTHING), do(called, NOTHING)
    np.testing.assert_allclose(called.since[SINCE_CALL], 2.0, atol=1e-4)

    def ally_distance(state: State) -> float:
        return float(np.hypot(state.x[2:4] - state.x[NPC], state.y[2:4] - state.y[NPC]).mean())

    assert ally_distance(called) < ally_distance(quiet) - 1


def test_episodes_end_and_new_ones_differ():
    state = reset_from_seeds(np.arange(4, dtype=np.uint32))
    posts = state.post.copy()
    for _ in range(EPISODE_TICKS):
        state = do(state, NOTHING)
    np.testing.assert_array_equal(state.tick, 0)
    np.testing.assert_array_equal(state.episode, 1)
    assert np.abs(state.post - posts).min() > 1e-4


def test_the_expert_keeps_to_the_mask_and_uses_every_choice():
    _, _, masks, choices = play(128, 150)
    allowed = np.take_along_axis(np.stack(masks), np.stack(choices)[..., None], -1)
    assert allowed.all()
    assert set(np.unique(np.stack(choices))) == set(range(len(CHOICES)))


def test_uniform_numbers_are_uniform_and_unrelated():
    u = geometry.uniform(np.arange(5000, dtype=np.uint32), np.zeros(5000, np.int32), 3, salt=1)
    assert abs(u.mean() - 0.5) < 0.01
    assert abs(u.std() - 12**-0.5) < 0.01
    assert np.abs(np.corrcoef(u) - np.eye(3)).max() < 0.05
