"""The inner loop as a graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import Generator

from npcmeta.archetype import build_learner
from npcmeta_export import adapt, export, load_session
from npcmeta_export.operators import SENTIS_2_1
from tests import toys
from tests.export.archetypes import ACTIONS, make_archetype


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("learner", ["bayes", "bayes-context", "cnp", "latent_np", "cavia", "matching"])
def test_a_game_adapts_with_the_graph_as_torch_does(tmp_path: Path, learner: str, kind: str) -> None:
    archetype = make_archetype(tmp_path, learner, ACTIONS[kind])
    file, _ = export(archetype, "adapt", tmp_path)
    session, built = load_session(file), build_learner(archetype)
    for tasks, examples in ((1, 1), (2, 33), (2, 0)):
        inputs = adapt.example_inputs(archetype, tasks, examples, Generator().manual_seed(9))
        fed = {value.name: inputs[value.name].numpy() for value in session.get_inputs()}
        names = [output.name for output in session.get_outputs()]
        assert set(names) == {f"adapted.{key}" for key in (*built.acting, *built.memory)}
        found = dict(zip(names, session.run(names, fed), strict=True))
        state = {key: inputs[f"state.{key}"] for key in (*built.acting, *built.memory)}
        expected = built.update(archetype.meta, state, adapt.examples_from(inputs))
        for key in built.acting:
            np.testing.assert_allclose(found[f"adapted.{key}"], expected[key].detach(), atol=1e-4, rtol=1e-3)


def test_the_adapt_graph_holds_only_operators_of_engines(tmp_path: Path) -> None:
    file, manifest = export(make_archetype(tmp_path, "bayes", ACTIONS["mixed"]), "adapt", tmp_path)
    assert {node.op_type for node in onnx.load(file).graph.node} <= SENTIS_2_1
    assert "adapt" in manifest.read_text()


def test_fine_tuning_has_no_adapt_graph(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="depends on how many examples"):
        export(make_archetype(tmp_path, "finetune", ACTIONS["mixed"]), "adapt", tmp_path)
    assert not list(tmp_path.glob("*.onnx"))


def test_an_inner_loop_of_thousands_of_steps_is_refused_before_it_is_traced(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cavia", ACTIONS["discrete"])
    long = archetype._replace(settings=toys.small_settings("cavia", inner_steps=100))
    with pytest.raises(ValueError, match=r"makes 100 steps, expected at most 64 .* --settings inner_steps=64 or fewer"):
        export(long, "adapt", tmp_path / "assets")
    assert not (tmp_path / "assets").exists()
