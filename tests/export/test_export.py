"""Assets: what they compute and what is in them, for every learner and target."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Generator

from npcmeta.archetype import Archetype, begin_npc, build_learner, save_archetype, save_npc
from npcmeta.learners import LEARNERS
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_export import TARGETS, export, load_session
from npcmeta_export.check import check_file
from npcmeta_export.operators import SENTIS_2_1
from tests import toys
from tests.export.archetypes import ACTIONS, changed_npc, feeds, make_archetype

ROOT = Path(__file__).resolve().parents[2]

CHILD = os.environ | {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "export", "server"))}


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


@pytest.mark.parametrize(("learner", "kind"), toys.cases())
def test_graphs_take_a_frame_without_anybody(tmp_path: Path, learner: str, kind: str) -> None:
    archetype = make_archetype(tmp_path, learner, ACTIONS[kind])
    file, _ = export(archetype, "policy", tmp_path)
    acting = build_learner(archetype).acting
    state = {f"state.{k}": v.numpy()[:0] for k, v in changed_npc(archetype).state.items() if k in acting}
    assert {len(value) for value in load_session(file).run(None, feeds(archetype, 0) | state)} == {0}
    own, _ = export(archetype, "ort", tmp_path, changed_npc(archetype))
    assert {len(value) for value in load_session(own).run(None, feeds(archetype, 0))} == {0}


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


def test_zero_noise_is_the_most_likely_action_and_masks_hold(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["discrete"])
    file, _ = export(archetype, "ort", tmp_path)
    inputs = feeds(archetype, 40)
    inputs["noise"] = np.zeros_like(inputs["noise"])
    choices, params = load_session(file).run(None, inputs)
    masked = np.where(inputs["action_mask"], params, -np.inf)
    np.testing.assert_array_equal(choices[:, 0], masked[:, :3].argmax(1))
    np.testing.assert_array_equal(choices[:, 1], masked[:, 3:].argmax(1))


def test_an_unknown_target_names_those_there_are(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["mixed"])
    with pytest.raises(
        ValueError, match=r'no export target "gltf"; expected one of: policy, adapt, begin, ort, mlagents'
    ):
        export(archetype, "gltf", tmp_path)


def test_an_export_under_another_default_dtype_says_that_it_would_be_another_file(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    archetype = make_archetype(tmp_path, "maml", ACTIONS["mixed"])
    request.getfixturevalue("program_of_doubles")
    with pytest.raises(ValueError, match=r"float64, expected torch.float32; call torch.set_default_dtype"):
        export(archetype, "policy", tmp_path / "assets")
    assert not (tmp_path / "assets").exists()
