"""Noise of drawn actions: the same for a seed and a tick, standard, unlike any other's, and finite whatever comes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcmeta_server.acting import noise

MOST = (1 << 64) - 1
WORDS = st.integers(0, MOST)


def seeds(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def test_noise_is_that_of_the_seed_and_the_tick_whoever_else_acts() -> None:
    everybody = seeds(1, 2, MOST)
    first = noise.draw(everybody, 5, 2, 3)
    assert (first.shape, first.dtype) == ((3, 5), np.float32)
    np.testing.assert_array_equal(noise.draw(everybody[1:], 5, 2, 3), first[1:])
    np.testing.assert_array_equal(noise.draw(everybody[::-1], 5, 2, 3), first[::-1])


def test_noise_is_the_same_in_every_version() -> None:
    known = [[1.9436023, 1.0499340, 0.1018458], [1.2897358, 1.1860226, 1.7293632]]
    np.testing.assert_allclose(noise.draw(seeds(0, MOST), 12, 1, 2), known, atol=1e-6)


def test_neighbours_in_seed_and_tick_share_nothing() -> None:
    drawn = [noise.draw(seeds(*range(100)), tick, 2, 3) for tick in range(20)]
    assert len(np.unique(np.stack(drawn))) > 0.999 * 20 * 100 * 5


@settings(deadline=None)
@given(st.lists(WORDS, max_size=5), WORDS, st.integers(0, 4), st.integers(0, 6))
def test_any_seed_and_tick_give_finite_noise_of_the_right_shape(
    words: list[int], tick: int, continuous: int, choices: int
) -> None:
    drawn = noise.draw(seeds(*words), tick, continuous, choices)
    assert drawn.shape == (len(words), continuous + choices)
    assert np.isfinite(drawn).all()


def test_no_seed_makes_infinite_noise() -> None:
    # Seeds are the client's to choose: these lead to the smallest and the largest number that there is.
    for bits in (0, MOST):
        for column in range(3):
            seed = seed_that_leads_to(bits, column, 7)
            uniform = noise._uniform(seeds(seed), 7, 3)[0, column]
            assert 0 < uniform < 1
            assert min(uniform, 1 - uniform) < 1e-15
            assert np.isfinite(noise.draw(seeds(seed), 7, 1, 1)).all()


@pytest.mark.parametrize("axis", ["seeds", "ticks", "columns"])
def test_noise_is_standard_normal_and_standard_gumbel(axis: str) -> None:
    count = 20_000
    if axis == "seeds":
        drawn = noise.draw(np.arange(count, dtype=np.uint64), 3, 1, 1)
    elif axis == "ticks":
        drawn = np.concatenate([noise.draw(seeds(3), tick, 1, 1) for tick in range(count)])
    else:
        drawn = noise.draw(seeds(3), 3, count, count).reshape(2, count).T
    normal, gumbel = drawn.T
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    assert abs(gumbel.mean() - np.euler_gamma) < 0.04
    assert abs(gumbel.std() - np.pi / 6**0.5) < 0.04
    assert abs(np.corrcoef(normal, gumbel)[0, 1]) < 0.03
    for series in (normal, gumbel):
        assert abs(np.corrcoef(series[1:], series[:-1])[0, 1]) < 0.03


def test_gumbel_noise_draws_choices_as_often_as_their_probability_says() -> None:
    probability = np.array([0.6, 0.3, 0.1])
    picks = (np.log(probability) + noise.draw(np.arange(20_000, dtype=np.uint64), 1, 2, 3)[:, 2:]).argmax(1)
    np.testing.assert_allclose(np.bincount(picks) / len(picks), probability, atol=0.015)


def seed_that_leads_to(bits: int, column: int, tick: int) -> int:
    """The seed whose 64 bits for a column and a tick are these: every step of the generator, backwards."""
    golden = int(noise.GOLDEN)
    start = (unmix(bits) - (column + 1) * golden) & MOST
    return unmix((unmix(start) - tick * golden) & MOST)


def unmix(z: int) -> int:
    z = unshift(z, 31) * pow(int(noise.MIX_2), -1, 1 << 64) & MOST
    return unshift(unshift(z, 27) * pow(int(noise.MIX_1), -1, 1 << 64) & MOST, 30)


def unshift(z: int, bits: int) -> int:
    """What `z` was before `z ^ (z >> bits)`."""
    found = z
    for _ in range(64 // bits):
        found = z ^ (found >> bits)
    return found
