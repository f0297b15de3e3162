"""What the demo says of its own figures."""

import pytest

from npcmeta_server.demo import scores


@pytest.mark.parametrize(("zero_shot", "expected"), [(-0.74, False), (-0.667, False), (-0.58, True), (0.45, True)])
def test_an_archetype_that_had_too_little_time_is_known_by_where_it_begins(zero_shot: float, expected: bool) -> None:
    rows = [
        {"demonstrations": count, "nll": nll, "nll_average": -0.7}
        for count, nll in ((0, zero_shot - 0.5), (0, zero_shot + 0.5), (10, 9.0))
    ]
    assert scores.is_behind(rows) is expected
