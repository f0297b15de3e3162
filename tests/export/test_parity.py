"""No graph is written that does not compute what torch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from google.protobuf.message import DecodeError

from npcmeta.archetype import begin_npc
from npcmeta_export import TARGETS, ParityError, adapt, drawing, export, graph, parity, template
from npcmeta_export.ort import ORT
from tests import toys
from tests.export.archetypes import ACTIONS, changed_npc, make_archetype


def test_a_wrong_graph_is_refused_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["mixed"])
    traced = graph.trace

    def wrongly(*given: Any, **named: Any) -> onnx.ModelProto:
        model = traced(*given, **named)
        constants = [node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"]
        decoder = next(tensor for tensor in constants if list(tensor.dims) == [7, 12])  # its first layer
        values = np.frombuffer(decoder.raw_data, np.float32).copy()
        values[::7] += 0.05
        decoder.raw_data = values.tobytes()
        return model

    monkeypatch.setattr(graph, "trace", wrongly)
    for target in (name for name in TARGETS if name not in ("begin", "adapt")):
        with pytest.raises(ParityError, match="differs from torch by"):
            export(archetype, target, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_noise_that_is_no_noise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["mixed"])
    monkeypatch.setattr(drawing, "SCATTER", 0.0)  # draws no longer depend on who draws, but are still fair
    export(archetype, "mlagents", tmp_path)
    draw = torch.rand_like
    for wrong in (torch.zeros_like, lambda x: 0.9 * draw(x), lambda x: draw(x[:1]).expand_as(x)):
        monkeypatch.setattr(torch, "rand_like", wrong)
        with pytest.raises(ParityError, match="noise: its"):
            export(archetype, "mlagents", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_template_holds_the_state_of_each_npc_and_is_compared_with_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archetype = make_archetype(tmp_path, "maml", ACTIONS["mixed"])
    made, npc = template.make_template(archetype, ORT), changed_npc(archetype)
    own, _ = export(archetype, "ort", tmp_path, npc)
    assert template.fill(made, npc) == own.read_bytes()
    assert template.fill(made, begin_npc(archetype, "bob")) != own.read_bytes()
    template.verify(made, npc)
    with pytest.raises(ParityError, match="bytes of state; expected"):
        template.fill(made, npc._replace(state={key: value[..., :-1] for key, value in npc.state.items()}))


@pytest.mark.parametrize("learner", ["maml", "bayes"])
def test_a_template_that_would_put_the_state_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: str
) -> None:
    places = graph.places

    def beside(*model: Any) -> dict[str, slice]:
        return {name: slice(place.start - 4, place.stop - 4) for name, place in places(*model).items()}

    monkeypatch.setattr(graph, "places", beside)
    with pytest.raises((ParityError, DecodeError)):
        template.make_template(make_archetype(tmp_path, learner, ACTIONS["mixed"]), ORT)


def test_graphs_are_checked_on_recorded_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["mixed"])
    seen: list[torch.Tensor] = []
    compared = parity.check

    def watched(session: Any, function: Any, inputs: dict[str, torch.Tensor], *rest: Any) -> None:
        seen.append(inputs["observation"])
        compared(session, function, inputs, *rest)

    monkeypatch.setattr(parity, "check", watched)
    shown = toys.draw_task("mixed", 2, 5).support._replace(observation=torch.full((2, 5, 7), 3.25))
    export(archetype, "policy", tmp_path, recorded=shown)
    assert {len(each) for each in seen if bool((each == 3.25).all())} == {1, 257}


def test_an_inner_loop_that_rounds_too_much_with_many_examples_is_in_float64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared, seen = adapt._compare, list[int]()

    def rounding(session: Any, archetype: Any, function: Any, inputs: dict[str, torch.Tensor]) -> None:
        seen.append(inputs["weight"].shape[1])
        compared(session, archetype, function, inputs)
        if seen.count(512) == 1 and seen[-1] == 512:
            raise parity.ParityError("float32 rounds too much")

    monkeypatch.setattr(adapt, "_compare", rounding)
    file, _ = export(make_archetype(tmp_path, "cavia", ACTIONS["mixed"]), "adapt", tmp_path)
    facts = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert facts["npcmeta.arithmetic"] == "float64"
