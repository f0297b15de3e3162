"""Files as other tools write them: what is said has to lead to a file that the engine takes."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from npcmeta_export.check import check_file
from tests.export.check import files

Axes = dict[str, dict[int, str]]


class UnityActor(nn.Module):
    """How trainers write a policy for ML-Agents: sizes as constants beside the actions."""

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.layer = nn.Linear(7, actions)
        for name, number in (("version", 3.0), ("memory", 0.0), ("size", float(actions))):
            setattr(self, name, nn.Parameter(torch.tensor([number]), requires_grad=False))

    def forward(self, observation: Tensor) -> tuple[Tensor, ...]:
        mean = self.layer(observation).clamp(-3, 3) / 3
        return self.version, self.memory, mean + 0.1 * torch.randn_like(mean), self.size, mean


UNITY_OUTPUTS = [
    "version_number", "memory_size", "continuous_actions", "continuous_action_output_shape",
    "deterministic_continuous_actions",
]  # fmt: skip


class GodotActor(nn.Module):
    """stable-baselines3's policy behind Godot RL Agents' wrapper."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 2))

    def forward(self, observation: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(observation), state


class TurnedActor(nn.Module):
    """Slices to the end, and a normaliser in front of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(10, 5)

    def forward(self, observation: Tensor) -> Tensor:
        return self.layer(((observation - 0.5) / 2).clamp(-5, 5))[:, 1:]


def traced(
    module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path, opset: int, dynamic: bool = True,
    axes: Axes | None = None, **how: bool,
) -> Path:  # fmt: skip
    axes = axes or ({name: {0: "batch"} for name in (*inputs, *outputs)} if dynamic else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(inputs.values()), str(path), dynamo=False, opset_version=opset, input_names=list(inputs),
            output_names=outputs, dynamic_axes=axes, **how,
        )  # fmt: skip
    return path


def codes(path: Path, target: str) -> set[str]:
    return {finding.code for finding in check_file(path, target, run=False).findings}


def unity(folder: Path, actions: int, **how: bool) -> Path:
    return traced(UnityActor(actions), {"obs_0": torch.zeros(1, 7)}, UNITY_OUTPUTS, folder / "unity.onnx", 15, **how)


def test_as_many_actions_as_the_version_number(tmp_path: Path) -> None:
    assert check_file(unity(tmp_path, 2), "mlagents", run=False).findings == ()
    path = unity(tmp_path, 3)  # torch stores equal constants once
    (finding,) = check_file(path, "mlagents", run=False).findings
    assert finding.code == "shared-constant"
    assert '"version_number", "continuous_action_output_shape"' in finding.found
    # What is advised makes it a file that passes.
    model = onnx.load(path)
    for node in [node for node in model.graph.node if node.output[0] in ("version_number", UNITY_OUTPUTS[3])]:
        model.graph.node.remove(node)
        model.graph.node.extend(files.constant(node.output[0], [3]))
    onnx.save(model, path)
    assert check_file(path, "mlagents").findings == ()


def test_godots_exporter(tmp_path: Path) -> None:
    inputs = {"obs": torch.zeros(1, 7), "state_ins": torch.zeros(1)}
    path = traced(GodotActor(), inputs, ["output", "state_outs"], tmp_path / "godot.onnx", 17)
    assert codes(path, "godot") <= {"bare-output"}  # torch passes the state through without an operation
    assert "opset" in codes(path, "sentis")
    assert "operator" not in codes(path, "godot")


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("target", ["sentis", "ort"])
def test_every_axis_named_and_nothing_folded(tmp_path: Path, target: str, folded: bool) -> None:
    axes = {"observation": {0: "n", 1: "width"}, "head_params": {0: "n"}}
    path = traced(TurnedActor(), {"observation": torch.zeros(2, 10)}, ["head_params"], tmp_path / "turned.onnx", 15,
                  axes=axes, do_constant_folding=folded)  # fmt: skip
    assert check_file(path, target).findings == ()


def test_a_batch_of_one_that_was_traced(tmp_path: Path) -> None:
    assert "fixed-batch" in codes(unity(tmp_path, 2, dynamic=False), "mlagents")


@pytest.mark.parametrize("target", ["sentis", "ort", "godot"])
def test_the_second_file_of_torchs_new_exporter(tmp_path: Path, target: str) -> None:
    model = files.godot(18) if target == "godot" else files.plain(files.layer())
    model.opset_import[0].version, model.ir_version = 18, 10
    path = tmp_path / "new.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="new.onnx.data", size_threshold=0)
    report = check_file(path, target)
    found = {finding.code for finding in report.findings}
    assert "second-file" in found
    assert ("ir-version" in found) == (target != "ort")
    assert ("opset" in found) == (target == "sentis")
    remedy = next(finding.remedy for finding in report.findings if finding.code == "second-file")
    assert "onnx.save(onnx.load(path), path)" in remedy
    onnx.save(onnx.load(path), path)
    assert "second-file" not in codes(path, target)


def test_models_of_ml_agents_1(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        for old, new in (("continuous_actions", "action"), ("continuous_action_output_shape", "action_output_shape")):
            files.output_named(model, old).name = new
            for node in model.graph.node:
                node.output[:] = [new if name == old else name for name in node.output]
        for name in ("discrete_actions", "discrete_action_output_shape", "deterministic_discrete_actions"):
            model.graph.output.remove(files.output_named(model, name))

    report = check_file(files.save(files.mlagents(), tmp_path, change), "mlagents", run=False)
    assert "ML-Agents 1.x" in " ".join(finding.found for finding in report.findings)
