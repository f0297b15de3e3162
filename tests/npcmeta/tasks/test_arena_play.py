"""The closed loop: the score must be zero for the expert, large for somebody else, and one for a perfect copy."""

import numpy as np
import pytest

from npcmeta.tasks.arena import play, statistics
from npcmeta.tasks.arena.personality import TRAITS, personalities

ARENAS, TICKS = 24, 120


@pytest.fixture(scope="module")
def who() -> np.ndarray:
    return personalities("test", 12, 0)


@pytest.fixture(scope="module")
def reference(who) -> play.Reference:
    return play.expert_reference(who, arenas=ARENAS, ticks=TICKS, seed=4)


def distance(reference: play.Reference, personality: np.ndarray, seed: int = 9) -> np.ndarray:
    policy = play.expert_policy(personality, arenas=ARENAS, seed=seed)
    return play.behaviour_distance(play.play_like(reference, policy), reference)


def test_the_expert_is_at_distance_zero_from_itself(reference, who):
    assert abs(distance(reference, who).mean()) < 0.05
    assert reference.noise_floor.mean() < 0.3


def test_somebody_else_is_far(reference, who):
    assert distance(reference, np.roll(who, 1, 0)).mean() > 0.5


def test_gap_closed_orders_copies_by_their_likeness(reference, who):
    average = distance(reference, np.full_like(who, 0.5))
    halfway = distance(reference, (who + 0.5) / 2)
    assert average.mean() > 0.3
    assert statistics.gap_closed(average, average) == 0
    assert 0.2 < statistics.gap_closed(halfway, average) < 0.9
    assert statistics.gap_closed(distance(reference, who), average) > 0.85


def test_single_characters_are_reported_only_where_the_average_is_far():
    assert statistics.gap_closed_each(np.array([0.2, 0.2]), np.array([0.8, 0.4])) == [pytest.approx(0.75), None]


@pytest.mark.parametrize(
    ("trait", "quantity", "sign"),
    [
        ("aggression", "attack_rate", 1),
        ("caution", "time_in_cover", 1),
        ("loyalty", "time_at_post", 1),
        ("sociability", "player_distance", -1),
        ("greed", "interact_rate", 1),
        ("distance", "threat_distance", 1),
        ("patience", "attack_rate", -1),
        ("reaction", "attack_delay", 1),
        ("calling", "call_rate", 1),
        ("blocking", "block_rate", 1),
        ("turning", "circling", 1),
        ("pace", "speed", 1),
    ],
)
def test_every_trait_shows_in_behaviour(trait, quantity, sign):
    pair = np.full((2, len(TRAITS)), 0.5, np.float32)
    pair[:, TRAITS.index(trait)] = 0.05, 0.95
    played = play.play(play.expert_policy(pair, arenas=64), 2, arenas=64, ticks=150)
    low, high = played.quantities[:, statistics.QUANTITIES.index(quantity)]
    assert sign * (high - low) > 0.04 * abs(low)


def test_every_character_meets_the_same_arenas_in_character_major_rows():
    calls = []

    def stand(observation, mask, tick):
        calls.append((observation.copy(), mask.copy(), tick))
        return np.zeros((len(observation), 2), np.float32), np.zeros(len(observation), np.int64)

    played = play.play(stand, 3, arenas=4, ticks=5, seed=2)
    assert [tick for _, _, tick in calls] == list(range(5))
    for observation, mask, _ in calls:
        np.testing.assert_array_equal(observation[:4], observation[4:8])
        np.testing.assert_array_equal(mask[:4], mask[8:])
    np.testing.assert_allclose(played.quantities[0], played.quantities[2])
    assert played.quantities.shape == (3, statistics.NUM_QUANTITIES)
    assert played.game_return.shape == (3,)


def test_standing_still_is_measured_as_standing_still():
    def stand(observation, mask, tick):
        return np.zeros((len(observation), 2), np.float32), np.zeros(len(observation), np.int64)

    values = dict(zip(statistics.QUANTITIES, play.play(stand, 1, arenas=8, ticks=40).quantities[0], strict=True))
    assert values["attack_rate"] == values["call_rate"] == 0
    assert values["speed"] < 0.05


def test_trajectories_hold_what_a_picture_needs(who):
    policy = play.expert_policy(who[:2], arenas=3)
    watched = play.play(policy, 2, arenas=3, ticks=20, watch=(0, 3)).trajectories
    assert set(watched) == {0, 3}
    one = watched[3]
    assert one.npc.shape == one.player.shape == (20, 2)
    assert one.allies.shape == (20, 2, 2)
    assert one.threats.shape == one.items.shape == (20, 3, 2)
    assert one.threat_present.shape == (20, 3)
    assert one.covers.shape == (4, 2)
    np.testing.assert_array_equal(one.post, watched[0].post)  # the same arena, another character
    assert np.abs(one.npc - watched[0].npc).max() > 0.2
    assert np.linalg.norm(np.diff(one.npc, axis=0), axis=1).max() < 0.5
