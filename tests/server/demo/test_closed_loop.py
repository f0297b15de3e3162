"""The demo's closed loop: what is measured of a few characters, and the pictures that it makes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot

from npcmeta.archetype import Archetype, begin_npc, save_archetype
from npcmeta.learners.finetune import FinetuneSettings
from npcmeta.tasks.arena.family import SPEC
from npcmeta.tasks.arena.personality import personalities
from npcmeta.tasks.arena.statistics import QUANTITIES
from npcmeta.types import Normaliser
from npcmeta_server.demo import closed_loop
from npcmeta_server.demo.closed_loop import ClosedLoop, Contestant
from npcmeta_server.report import pictures

CHARACTERS = 2


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> ClosedLoop:
    """An untrained policy as average and as contestant, the experts, and the ceiling."""
    settings = FinetuneSettings(hidden=(16,), dropout=0.0)
    size = SPEC.observation_size
    meta = settings.build(SPEC).init(torch.Generator().manual_seed(0))
    normaliser = Normaliser((0.0,) * size, (1.0,) * size)
    draft = Archetype("average", "arena", "finetune", settings, SPEC, normaliser, {}, {}, meta)
    path: Path = tmp_path_factory.mktemp("loop") / "baseline.safetensors"
    begun = begin_npc(save_archetype(draft, path), "average").state
    contestant = Contestant(
        path, {key: value.repeat(CHARACTERS, *[1] * (value.dim() - 1)) for key, value in begun.items()}
    )
    characters, done = personalities("test", CHARACTERS, 0), []
    loop = closed_loop.measure(characters, {"average": contestant, "same": contestant}, path, [0, 65], done.append)
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert len({part for part in done if part < closed_loop.CEILING_SHARE}) > 2  # it moves while ceilings are trained
    return loop


def test_the_average_closes_nothing_and_imitation_from_much_play_closes_most(measured: ClosedLoop) -> None:
    assert measured.gap_closed["average"] == 0
    assert measured.gap_closed["same"] == pytest.approx(0, abs=0.05)
    assert measured.gap_closed["ceiling"] > 0.3


def test_behaviour_is_told_for_every_character_and_quantity(measured: ClosedLoop) -> None:
    for name in ("average", "same", "expert"):
        assert measured.behaviour[name].shape == (CHARACTERS, len(QUANTITIES))
    np.testing.assert_allclose(measured.behaviour["expert"].mean(0), 0, atol=1e-6)


def test_pictures_show_the_watched_games(measured: ClosedLoop) -> None:
    assert set(measured.trajectories["expert"]) == set(measured.trajectories["average"]) == {0, 65}
    rows = {"bob": {"average": [measured.trajectories["average"][0]], "expert": [measured.trajectories["expert"][0]]}}
    figure = pictures.draw_paths(rows)
    assert [axis.get_title() for axis in figure.axes] == ["average", "expert"]
    ways = {name: measured.behaviour[name][0] for name in ("average", "same", "expert")}
    assert len(pictures.draw_behaviour(QUANTITIES, {"bob": ways}).axes[0].get_yticks()) == len(QUANTITIES)
    pyplot.close("all")


def test_a_line_of_every_method_has_its_name_in_each_picture_of_shots() -> None:
    measures = {"gap": {"adapted": [0.1, 0.5]}, "NLL": {"adapted": [1.0, 0.8], "average": [0.9, 0.9]}}
    axes = pictures.draw_shots([0, 10], measures, {}).axes
    named = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in axes if axis.get_legend()]
    assert named == [["adapted"], ["adapted", "average"]]
    pyplot.close("all")
