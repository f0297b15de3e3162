"""What each engine reads from its file, read here the way its own code does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnxruntime import InferenceSession
from safetensors.numpy import load_file
from torch import Generator

from npcmeta import heads
from npcmeta.archetype import Archetype, Npc, build_learner
from npcmeta_export import STATE, export, load_session
from npcmeta_export.drawing import draw_noise
from tests.export.archetypes import ACTIONS, changed_npc, make_archetype

ROWS = 4000
KINDS = tuple(ACTIONS)


def observations(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 7), np.float32)


def head_params(archetype: Archetype, npc: Npc, seen: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return build_learner(archetype).predict(archetype.meta, npc.state, torch.from_numpy(seen).unsqueeze(0))[0]


def run(session: InferenceSession, fed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, fed), strict=True))


def constants(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """From each output that is the identity of a Constant to that node."""
    made = {output: node for node in model.graph.node for output in node.output}
    outputs = {entry.name for entry in model.graph.output}
    nodes = {name: made[name] for name in outputs if made[name].op_type == "Identity"}
    return {name: made[node.input[0]] for name, node in nodes.items() if made[node.input[0]].op_type == "Constant"}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_mlagents_finds_everything_that_it_asks_for(tmp_path: Path, kind: str, shared: bool) -> None:
    action = ACTIONS[kind]
    archetype = make_archetype(tmp_path, "cnp", action)
    file, _ = export(archetype, "mlagents", tmp_path, None if shared else changed_npc(archetype))
    model = onnx.load(file)
    found = constants(model)
    values = {name: numpy_helper.to_array(node.attribute[0].t) for name, node in found.items()}
    expected: dict[str, list[object]] = {"version_number": [3.0], "memory_size": [0.0]}
    actions = []
    if action.continuous_size:
        expected["continuous_action_output_shape"] = [float(action.continuous_size)]
        actions += ["continuous_actions", "deterministic_continuous_actions"]
    if action.branch_sizes:
        expected["discrete_action_output_shape"] = [[float(size) for size in action.branch_sizes]]
        actions += ["discrete_actions", "deterministic_discrete_actions"]
    assert {name: value.tolist() for name, value in values.items()} == expected
    assert len({node.output[0] for node in found.values()}) == len(found)  # a node for each
    outputs = {entry.name: entry.type.tensor_type for entry in model.graph.output}
    assert set(outputs) == {*expected, *actions}
    assert all(outputs[name].elem_type == TensorProto.FLOAT for name in expected)
    inputs = {entry.name: entry.type.tensor_type for entry in model.graph.input}
    masks = {"action_masks"} if action.branch_sizes else set()
    assert set(inputs) == {"obs_0", *masks, *({"obs_1"} if shared else set())}
    assert all(kind.elem_type == TensorProto.FLOAT for kind in inputs.values())


@pytest.mark.parametrize("kind", KINDS)
def test_mlagents_draws_what_the_policy_would_and_each_row_for_itself(tmp_path: Path, kind: str) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS[kind])
    npc, action = changed_npc(archetype), ACTIONS[kind]
    file, _ = export(archetype, "mlagents", tmp_path, npc)
    session, seen = load_session(file), np.repeat(observations(1), ROWS, 0)
    fed = {"obs_0": seen, "action_masks": np.ones((ROWS, action.mask_size), np.float32)}
    if action.branch_sizes:
        fed["action_masks"][:, 1] = 0
    found = run(session, {entry.name: fed[entry.name] for entry in session.get_inputs()})
    params, mask = head_params(archetype, npc, seen[:1]), torch.from_numpy(fed["action_masks"][:1] > 0)
    likeliest = build_learner(archetype).head.mode(params, mask)
    if action.continuous_size:
        mean, std = heads.moments(params, action)
        expected = (mean + std * torch.randn(200_000, action.continuous_size, generator=Generator())).clamp(-1, 1)
        drawn = found["continuous_actions"]
        assert np.abs(drawn).max() <= 1
        np.testing.assert_allclose(drawn.mean(0), expected.mean(0), atol=0.05)
        np.testing.assert_allclose(drawn.std(0), expected.std(0), atol=0.05)
        np.testing.assert_allclose(found["deterministic_continuous_actions"][:1], likeliest.continuous, atol=1e-5)
        assert len(np.unique(drawn[:, 0])) > ROWS / 10
    for branch, expected in enumerate(heads.probabilities(params, mask, action)):
        size = action.branch_sizes[branch]
        shares = np.bincount(found["discrete_actions"][:, branch], minlength=size) / ROWS
        np.testing.assert_allclose(shares, expected[0], atol=0.05)
        assert (found["deterministic_discrete_actions"][:, branch] == likeliest.discrete[0, branch].item()).all()
    if action.branch_sizes:
        assert not (found["discrete_actions"][:, 0] == 1).any()  # forbidden


def test_agents_who_differ_do_not_share_draws_where_generators_begin_alike(tmp_path: Path) -> None:
    """Sessions of one process draw the same numbers: without more, a crowd would act in unison."""
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["continuous"])
    npc = changed_npc(archetype)
    other = npc._replace(name="al", state={key: value + 0.01 for key, value in npc.state.items()})
    (one, _), (two, _) = (export(archetype, "mlagents", tmp_path, each) for each in (npc, other))
    seen = observations(300)  # as time goes by; two who see one and the same thing for long differ by a constant angle

    def noise(file: Path, seen: np.ndarray) -> np.ndarray:
        found = run(load_session(file), {"obs_0": seen})
        return (found["continuous_actions"] - found["deterministic_continuous_actions"]).ravel()

    first = noise(one, seen)
    assert np.array_equal(first, noise(one, seen))  # otherwise this test would show nothing
    for elsewhere in (noise(two, seen), noise(one, seen + 0.01)):
        assert abs(np.corrcoef(first, elsewhere)[0, 1]) < 0.3
        assert (np.abs(first - elsewhere) > 1e-3).mean() > 0.9


def test_one_mlagents_file_serves_every_npc(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cavia", ACTIONS["mixed"])
    npcs = [changed_npc(archetype)._replace(name=name) for name in ("al", "bo", "cy")]
    shared, _ = export(archetype, "mlagents", tmp_path)
    rows = [obs_1(export(archetype, STATE, tmp_path, npc)[0]) for npc in npcs]
    session, seen = load_session(shared), observations(3)
    fed = {"obs_0": seen, "obs_1": np.stack(rows), "action_masks": np.ones((3, 5), np.float32)}
    found = run(session, fed)
    for row, npc in enumerate(npcs):
        own, _ = export(archetype, "mlagents", tmp_path, npc)
        alone = run(load_session(own), {"obs_0": seen[row : row + 1], "action_masks": np.ones((1, 5), np.float32)})
        for name in ("deterministic_continuous_actions", "deterministic_discrete_actions"):
            np.testing.assert_allclose(found[name][row], alone[name][0], atol=1e-5)


def obs_1(file: Path) -> np.ndarray:
    """The numbers behind the header of a safetensors file, as a game reads them."""
    data = file.read_bytes()
    return np.frombuffer(data[8 + int.from_bytes(data[:8], "little") :], "<f4")


@pytest.mark.parametrize("learner", ["maml", "bayes", "cnp", "matching"])
def test_a_state_file_holds_the_inputs_of_the_policy_and_in_its_data_the_second_observation(
    tmp_path: Path, learner: str
) -> None:
    archetype = make_archetype(tmp_path, learner, ACTIONS["discrete"])
    npc = changed_npc(archetype)
    file, _ = export(archetype, STATE, tmp_path, npc)
    acting = build_learner(archetype).acting
    assert {key: value.tolist() for key, value in load_file(file).items()} == {
        f"state.{key}": npc.state[key].tolist() for key in acting
    }
    flat = np.concatenate([npc.state[key].numpy().ravel() for key in sorted(acting)])
    np.testing.assert_array_equal(obs_1(file), flat)


def plugin_action(output: list[float], spaces: list[tuple[str, int]]) -> list[object]:
    """How the Godot RL Agents plugin reads a row of `output`, for action spaces of a type and a size."""
    means_only = all(kind == "continuous" for kind, _ in spaces) and sum(size for _, size in spaces) == len(output)
    at, read = 0, []
    for kind, size in spaces:
        if kind == "discrete":
            largest, index = 0.0, 0
            for choice in range(size):
                if output[at + choice] > largest:
                    largest, index = output[at + choice], choice
            read.append(index)
            at += size
        else:
            read.append([min(max(value, -1.0), 1.0) for value in output[at : at + size]])
            at += size if means_only else 2 * size
    assert at == len(output)
    return read


@pytest.mark.parametrize("kind", KINDS)
def test_the_godot_plugin_reads_the_action(tmp_path: Path, kind: str) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS[kind])
    npc, action = changed_npc(archetype), ACTIONS[kind]
    file, _ = export(archetype, "godot", tmp_path, npc)
    session, seen = load_session(file), observations(20)
    spaces = [("continuous", action.continuous_size)] if action.continuous_size else []
    spaces += [("discrete", size) for size in action.branch_sizes]
    assert session.get_outputs()[0].shape == ["n", session.run(["output"], feed(seen, 0.0))[0].shape[1]]
    params = head_params(archetype, npc, seen)
    likeliest = build_learner(archetype).head.mode(params, torch.ones(20, action.mask_size, dtype=torch.bool))
    drawn = []
    for row in range(len(seen)):
        one = feed(seen[row : row + 1], 0.0)
        output, state = session.run(["output", "state_outs"], one)
        assert state.tolist() == [0.0]
        read = plugin_action(output[0].tolist(), spaces)
        if action.continuous_size:
            np.testing.assert_allclose(read.pop(0), likeliest.continuous[row], atol=1e-5)
        assert read == likeliest.discrete[row].tolist()
        output = session.run(["output"], feed(seen[row : row + 1], 1.0))[0]
        drawn.append(str(plugin_action(output[0].tolist(), spaces)))
        drawn.append(str(plugin_action(session.run(["output"], feed(seen[row : row + 1], 1.0))[0][0].tolist(), spaces)))
    assert any(first != second for first, second in zip(drawn[::2], drawn[1::2], strict=True))


def feed(seen: np.ndarray, state: float) -> dict[str, np.ndarray]:
    return {"obs": seen, "state_ins": np.full(len(seen), state, np.float32)}


@pytest.mark.parametrize("shared", [False, True])
def test_sentis_gets_only_floats_and_narrow_integers(tmp_path: Path, shared: bool) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["mixed"])
    npc = changed_npc(archetype)
    file, _ = export(archetype, "sentis", tmp_path, None if shared else npc)
    values = [*onnx.load(file).graph.input, *onnx.load(file).graph.output]
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    assert kinds.pop("discrete_actions") == TensorProto.INT32
    assert set(kinds.values()) == {TensorProto.FLOAT}
    seen = observations(9)
    fed = {"observation": seen, "action_mask": np.ones((9, 5), np.float32), "noise": np.zeros((9, 7), np.float32)}
    if shared:
        fed |= {f"state.{key}": np.repeat(npc.state[key].numpy(), 9, 0) for key in build_learner(archetype).acting}
    found = run(load_session(file), fed)
    params = head_params(archetype, npc, seen)
    np.testing.assert_allclose(found["head_params"], params, rtol=1e-5, atol=1e-5)
    likeliest = build_learner(archetype).head.mode(params, torch.ones(9, 5, dtype=torch.bool))
    np.testing.assert_array_equal(found["discrete_actions"], likeliest.discrete)


def test_noise_is_that_of_the_head_for_any_observation() -> None:
    seen = 1e6 * torch.randn(ROWS, 7, generator=Generator().manual_seed(0))
    noise = draw_noise(seen, {"key": torch.full((1, 3), 1e20)}, ACTIONS["mixed"])
    assert torch.isfinite(noise).all()
    assert noise.shape == (ROWS, 7)
