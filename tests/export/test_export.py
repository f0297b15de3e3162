"""Assets: parity with torch, the shape of the graph, and what happens when something is wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Generator

from npcmeta.archetype import Archetype, Npc, begin_npc, build_learner, save_archetype
from npcmeta.learners import LEARNERS
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_export import TARGETS, ParityError, adapt, export, load_session, parity, policy
from npcmeta_export.check import check_file
from npcmeta_export.operators import SENTIS_2_1
from tests import toys

ACTIONS = {
    "continuous": ActionSpec(3, ()),
    "discrete": ActionSpec(0, (3, 4)),
    "mixed": ActionSpec(2, (5,)),
}


def make_archetype(folder: Path, learner: str, action: ActionSpec) -> Archetype:
    name, changes = toys.VARIANTS.get(learner, (learner, {}))
    settings = dataclasses.replace(LEARNERS[name](), **changes)  # type: ignore[type-var]
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
    return {k: v.numpy() for k, v in policy.example_inputs(archetype, rows, Generator().manual_seed(5)).items()}


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


@pytest.mark.parametrize("learner", ["protonet", "matching"])
def test_npcs_that_see_pictures(tmp_path: Path, learner: str) -> None:
    settings = dataclasses.replace(LEARNERS[learner](), image=(18, 16, 2), filters=12)  # type: ignore[type-var]
    spec = BehaviorSpec(18 * 16 * 2, ActionSpec(0, (5,)), 10.0)
    meta = settings.build(spec).init(Generator().manual_seed(3))
    normaliser = Normaliser((0.5,) * spec.observation_size, (0.3,) * spec.observation_size)
    draft = Archetype("guard", "arena", learner, settings, spec, normaliser, {}, {}, meta)
    archetype = save_archetype(draft, tmp_path / "guard.safetensors")
    for target in TARGETS:
        file, _ = export(archetype, target, tmp_path, begin_npc(archetype, "bob"))
        assert {node.op_type for node in onnx.load(file).graph.node} <= SENTIS_2_1
        assert "Conv" in {node.op_type for node in onnx.load(file).graph.node}


def test_an_adapted_npc_is_a_small_file_that_does_not_grow_with_the_batch(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "maml", ACTIONS["mixed"])
    file, _ = export(archetype, "ort", tmp_path, changed_npc(archetype))
    weights = sum(value.numel() * 4 for value in archetype.meta.values())
    assert file.stat().st_size < 1.2 * weights + 10_000


def test_exports_are_reproducible_to_the_byte(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["mixed"])
    first, _ = export(archetype, "policy", tmp_path / "a")
    second, _ = export(archetype, "policy", tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_the_file_says_where_it_comes_from(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["discrete"])
    file, manifest = export(archetype, "ort", tmp_path, changed_npc(archetype))
    facts = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert facts["npcmeta.archetype_revision"] == archetype.revision
    assert facts["npcmeta.npc"] == "bob"
    assert json.loads(facts["npcmeta.spec"])["branch_sizes"] == [3, 4]
    assert [entry["file"] for entry in json.loads(manifest.read_text())["assets"]] == ["bob.ort.onnx"]


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
    model = policy.policy_model(archetype)
    constants = [node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"]
    decoder = next(tensor for tensor in constants if list(tensor.dims) == [7, 128])  # its first layer
    values = np.frombuffer(decoder.raw_data, np.float32).copy()
    values[::7] += 0.05
    decoder.raw_data = values.tobytes()

    def act(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        state = {key: inputs[f"state.{key}"] for key in ("sum", "count")}
        return policy.decide(archetype, state, inputs)

    def example(rows: int, generator: Generator) -> dict[str, torch.Tensor]:
        state = policy.example_state(archetype, rows, generator)
        return policy.example_inputs(archetype, rows, generator) | {f"state.{k}": v for k, v in state.items()}

    with pytest.raises(ParityError, match="differs from torch by"):
        parity.check(model.SerializeToString(), act, example, archetype.spec.action)

    monkeypatch.setattr(parity.check, "__defaults__", (-1.0,))
    with pytest.raises(ParityError):
        export(archetype, "policy", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_target_names_those_there_are(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["mixed"])
    with pytest.raises(ValueError, match=r'no export target "gltf"; expected one of: policy, adapt, ort'):
        export(archetype, "gltf", tmp_path)


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("learner", ["bayes", "bayes-context", "cnp", "latent_np", "cavia", "matching"])
def test_a_game_adapts_with_the_graph_as_torch_does(tmp_path: Path, learner: str, kind: str) -> None:
    archetype = make_archetype(tmp_path, learner, ACTIONS[kind])
    file, _ = export(archetype, "adapt", tmp_path)
    session, built = load_session(file), build_learner(archetype)
    for tasks, examples in ((1, 1), (2, 33)):
        inputs = adapt.example_inputs(archetype, tasks, examples, Generator().manual_seed(9))
        fed = {value.name: inputs[value.name].numpy() for value in session.get_inputs()}
        names = [output.name for output in session.get_outputs()]
        assert set(names) == {f"adapted.{key}" for key in (*built.acting, *built.memory)}
        found = dict(zip(names, session.run(names, fed), strict=True))
        state = {key: inputs[f"state.{key}"] for key in (*built.acting, *built.memory)}
        expected = built.update(archetype.meta, state, adapt.examples_from(archetype, inputs))
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
