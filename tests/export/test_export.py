"""Assets: parity with torch, the shape of the graph, and what happens when something is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from google.protobuf.message import DecodeError
from torch import Generator

from npcmeta import __version__
from npcmeta.archetype import Archetype, Npc, begin_npc, build_learner, save_archetype, save_npc
from npcmeta.header import read_metadata
from npcmeta.learners import LEARNERS
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_export import TARGETS, ParityError, adapt, drawing, engine, export, graph, load_session, parity, template
from npcmeta_export.check import check_file
from npcmeta_export.operators import SENTIS_2_1
from npcmeta_export.ort import ORT
from tests import toys

ROOT = Path(__file__).resolve().parents[2]
CHILD = os.environ | {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "export", "server"))}
ACTIONS = {
    "continuous": ActionSpec(3, ()),
    "discrete": ActionSpec(0, (3, 4)),
    "mixed": ActionSpec(2, (5,)),
}


def make_archetype(folder: Path, learner: str, action: ActionSpec) -> Archetype:
    name, settings = toys.VARIANTS.get(learner, (learner, {}))[0], toys.small_settings(learner)
    spec = BehaviorSpec(7, action, 10.0)
    meta = settings.build(spec).init(Generator().manual_seed(3))
    normaliser = Normaliser(tuple(0.1 * i for i in range(7)), tuple(1.0 + 0.2 * i for i in range(7)))
    draft = Archetype("guard", "arena", name, settings, spec, normaliser, {}, {}, meta)
    return save_archetype(draft, folder / "guard.safetensors")


def changed_npc(archetype: Archetype) -> Npc:
    npc = begin_npc(archetype, "bob")
    shaken = {key: value + 0.3 * torch.randn(value.shape, generator=Generator()) for key, value in npc.state.items()}
    return npc._replace(state=shaken)


def feeds(archetype: Archetype, rows: int) -> dict[str, np.ndarray]:
    inputs = ORT.example(engine.policy_of(archetype), rows, Generator().manual_seed(5))
    return {name: value.numpy() for name, value in inputs.items()}


@pytest.mark.parametrize(("learner", "kind"), toys.cases())
def test_an_npc_acts_the_same_through_every_graph_as_in_torch(tmp_path: Path, learner: str, kind: str) -> None:
    archetype = make_archetype(tmp_path, learner, ACTIONS[kind])
    npc = changed_npc(archetype)
    policy_file, _ = export(archetype, "policy", tmp_path)
    npc_file, _ = export(archetype, "ort", tmp_path, npc)
    for rows in (1, 2, 50):
        inputs = feeds(archetype, rows)
        built = build_learner(archetype)
        with torch.no_grad():
            expected = built.predict(archetype.meta, npc.state, torch.from_numpy(inputs["observation"]).unsqueeze(0))[0]
        state = {f"state.{k}": npc.state[k].expand(rows, *npc.state[k].shape[1:]).numpy() for k in built.acting}
        shared = load_session(policy_file).run(None, inputs | state)
        own = load_session(npc_file).run(None, inputs)
        np.testing.assert_allclose(shared[-1], expected.numpy(), rtol=1e-4, atol=1e-5)
        for one, other in zip(shared, own, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


GRAPHS = [(target, learner) for target in TARGETS for learner in LEARNERS if (target, learner) != ("adapt", "finetune")]


@pytest.mark.parametrize(("target", "learner"), GRAPHS)
def test_assets_keep_to_what_engines_accept(tmp_path: Path, learner: str, target: str) -> None:
    kind = "discrete" if target == "adapt" else toys.kinds(learner)[-1]
    archetype = make_archetype(tmp_path, learner, ACTIONS[kind])
    file, _ = export(archetype, target, tmp_path)
    assert check_file(file, target, run=False).findings == ()
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [entry.version for entry in model.opset_import] == [15]
    assert {node.op_type for node in model.graph.node} <= SENTIS_2_1
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    assert all(value.type.tensor_type.shape.dim[0].dim_param == "n" for value in model.graph.input)
    assert all(len(value.dims) <= 8 for value in model.graph.initializer)


@pytest.mark.parametrize("learner", ["protonet", "matching", "maml", "cavia"])
def test_npcs_that_see_pictures(tmp_path: Path, learner: str) -> None:
    shared = learner in ("protonet", "matching")  # kernels of a character's own are matrices
    changes = {"image": (18, 16, 2), "filters": 12} | ({} if shared else {"inner_steps": 1})
    settings = dataclasses.replace(LEARNERS[learner](), **changes)  # type: ignore[type-var]
    spec = BehaviorSpec(18 * 16 * 2, ActionSpec(0, (5,)), 10.0)
    meta = settings.build(spec).init(Generator().manual_seed(3))
    normaliser = Normaliser((0.5,) * spec.observation_size, (0.3,) * spec.observation_size)
    draft = Archetype("guard", "arena", learner, settings, spec, normaliser, {}, {}, meta)
    archetype = save_archetype(draft, tmp_path / "guard.safetensors")
    for target in TARGETS:
        file, _ = export(archetype, target, tmp_path, begin_npc(archetype, "bob"))
        assert {node.op_type for node in onnx.load(file).graph.node} <= SENTIS_2_1
        sees = shared and target != "begin"
        assert ("Conv" in {node.op_type for node in onnx.load(file).graph.node}) == sees


def test_an_adapted_npc_is_a_small_file_that_does_not_grow_with_the_batch(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "maml", ACTIONS["mixed"])
    file, _ = export(archetype, "ort", tmp_path, changed_npc(archetype))
    weights = sum(value.numel() * 4 for value in archetype.meta.values())
    assert file.stat().st_size < 1.2 * weights + 10_000


EXPORT_ALL = """
import sys
from pathlib import Path
from npcmeta.archetype import load_archetype, load_npc
from npcmeta_export import STATE, TARGETS, export
folder, out = map(Path, sys.argv[1:])
archetype = load_archetype(folder / "guard.safetensors")
npc = load_npc(folder / "bob.npc", archetype)
for target in (*TARGETS, STATE):
    export(archetype, target, out, npc)
for target in ("mlagents", "sentis"):
    export(archetype, target, out)
"""


def test_exports_are_reproducible_to_the_byte_by_another_process(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["mixed"])
    save_npc(changed_npc(archetype), tmp_path / "bob.npc")
    for out in ("a", "b"):
        subprocess.run([sys.executable, "-c", EXPORT_ALL, tmp_path, tmp_path / out], check=True, env=CHILD)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == len(TARGETS) + 4  # the two for all NPCs, a state, and the manifest
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_the_file_says_where_it_comes_from(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["discrete"])
    npc = changed_npc(archetype)
    save_npc(npc, tmp_path / "bob.npc")
    file, manifest = export(archetype, "ort", tmp_path, npc)
    facts = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert facts["npcmeta.archetype_revision"] == archetype.revision
    assert (facts["npcmeta.npc"], facts["npcmeta.learner"], facts["npcmeta.version"]) == ("bob", "cnp", __version__)
    assert (
        facts["npcmeta.source_digest"] == read_metadata((tmp_path / "bob.npc").read_bytes(), "npcmeta.npc")["revision"]
    )
    assert json.loads(facts["npcmeta.spec"])["branch_sizes"] == [3, 4]
    [entry] = json.loads(manifest.read_text())["assets"]
    assert (entry["file"], entry["sha256"]) == ("bob.ort.onnx", hashlib.sha256(file.read_bytes()).hexdigest())
    assert entry["npc"]["digest"] == facts["npcmeta.source_digest"]
    assert entry["inputs"] == {"observation": ["n", 7], "action_mask": ["n", 7], "noise": ["n", 7]}
    shared, _ = export(archetype, "mlagents", tmp_path)
    facts = {entry.key: entry.value for entry in onnx.load(shared).metadata_props}
    assert facts["npcmeta.source_digest"] == archetype.revision


def test_zero_noise_is_the_most_likely_action_and_masks_hold(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["discrete"])
    file, _ = export(archetype, "ort", tmp_path)
    inputs = feeds(archetype, 40)
    inputs["noise"] = np.zeros_like(inputs["noise"])
    choices, params = load_session(file).run(None, inputs)
    masked = np.where(inputs["action_mask"], params, -np.inf)
    np.testing.assert_array_equal(choices[:, 0], masked[:, :3].argmax(1))
    np.testing.assert_array_equal(choices[:, 1], masked[:, 3:].argmax(1))


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


def test_an_unknown_target_names_those_there_are(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["mixed"])
    with pytest.raises(
        ValueError, match=r'no export target "gltf"; expected one of: policy, adapt, begin, ort, mlagents'
    ):
        export(archetype, "gltf", tmp_path)


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
        expected = built.update(archetype.meta, state, adapt.examples_from(archetype, inputs))
        for key in built.acting:
            np.testing.assert_allclose(found[f"adapted.{key}"], expected[key].detach(), atol=1e-4, rtol=1e-3)


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


def test_the_adapt_graph_holds_only_operators_of_engines(tmp_path: Path) -> None:
    file, manifest = export(make_archetype(tmp_path, "bayes", ACTIONS["mixed"]), "adapt", tmp_path)
    assert {node.op_type for node in onnx.load(file).graph.node} <= SENTIS_2_1
    assert "adapt" in manifest.read_text()


def test_fine_tuning_has_no_adapt_graph(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="depends on how many examples"):
        export(make_archetype(tmp_path, "finetune", ACTIONS["mixed"]), "adapt", tmp_path)
    assert not list(tmp_path.glob("*.onnx"))
