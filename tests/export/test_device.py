"""The inner loop on the player's device: without torch, on the arena and on recorded play, as torch does it."""

from __future__ import annotations

import functools
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from npcmeta.archetype import Archetype, build_learner
from npcmeta.recordings.npz_writer import write_npz
from npcmeta.tasks.timelines import as_examples
from npcmeta.types import Examples, Params
from npcmeta_export import device, export
from tests.export.worlds import World, arena, recorded, trained

PROGRAM = Path(device.__file__)
SEEDS = (3, 8)
ON_THE_DEVICE = """
import importlib.util, sys
import numpy as np
sys.modules["torch"] = None  # importing it fails
program, folder, *recordings = sys.argv[1:]
spec = importlib.util.spec_from_file_location("device", program)
device = importlib.util.module_from_spec(spec)
sys.modules["device"] = device
spec.loader.exec_module(device)
archetype = device.load(*(f"{folder}/guard.{graph}.onnx" for graph in ("begin", "adapt", "policy")))
shown = [device.read_demonstration(path) for path in recordings]
begun = device.begin(archetype, seeds=(3, 8))
adapted = device.adapt(archetype, begun, shown)
queries, params = np.load(f"{folder}/query.npz"), {}
for name, state in (("before", begun), ("after", adapted)):
    for index in range(len(shown)):
        seen = queries[f"query_{index}"]
        own = device.rows(state, [index] * len(seen))
        params[f"{name}_{index}"] = device.decide(archetype, own, seen)["head_params"]
np.savez(f"{folder}/params.npz", **params)
assert not [name for name in sys.modules if name.split(".")[0] in ("npcmeta", "npcmeta_export", "onnx")]
"""


def begun_with(archetype: Archetype, seeds: tuple[int, ...]) -> Params:
    learner = build_learner(archetype)
    drawn = [np.random.default_rng(seed).standard_normal(max(1, learner.noise_size), np.float32) for seed in seeds]
    return learner.begin(archetype.meta, len(seeds), torch.from_numpy(np.stack(drawn))[:, : learner.noise_size])


def nll(archetype: Archetype, params: Tensor, query: Examples) -> float:
    head = build_learner(archetype).head
    return float(head.nll(params, query.action, query.action_mask).mean())


@pytest.mark.parametrize("world", [arena, recorded])
@pytest.mark.parametrize("learner", ["bayes", "cnp", "cavia", "latent_np"])
def test_a_character_adapted_without_torch_is_the_one_that_torch_makes(
    tmp_path: Path, learner: str, world: functools._lru_cache_wrapper[World]
) -> None:
    given = world()
    archetype = trained(tmp_path, given, learner)
    for target in ("begin", "adapt", "policy"):
        export(archetype, target, tmp_path)
    recordings = [tmp_path / f"{index}.npz" for index in range(2)]
    for path, shown in zip(recordings, given.shown, strict=True):
        write_npz(path, shown)
    queries = {f"query_{index}": query.observation[0].numpy() for index, query in enumerate(given.query)}
    np.savez(tmp_path / "query.npz", **queries)  # type: ignore[arg-type]
    command = [sys.executable, "-I", "-c", ON_THE_DEVICE, str(PROGRAM), str(tmp_path), *map(str, recordings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, built = np.load(tmp_path / "params.npz"), build_learner(archetype)
    moved = 0.0
    for index, (shown, query) in enumerate(zip(given.shown, given.query, strict=True)):
        begun = {key: value[index : index + 1] for key, value in begun_with(archetype, SEEDS).items()}
        with torch.no_grad():
            states = {"before": begun, "after": built.update(archetype.meta, begun, as_examples(shown))}
            for name, state in states.items():
                expected = nll(archetype, built.predict(archetype.meta, state, query.observation), query)
                params = torch.from_numpy(found[f"{name}_{index}"]).unsqueeze(0)
                assert nll(archetype, params, query) == pytest.approx(expected, abs=1e-3)
                moved += expected if name == "after" else -expected
    assert abs(moved) > 0.01  # an inner loop that does nothing would pass what stands above


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, device.Archetype]:
    folder = tmp_path_factory.mktemp("guard")
    archetype = trained(folder, recorded(), "latent_np")
    files = [export(archetype, target, folder)[0] for target in ("begin", "adapt", "policy")]
    write_npz(folder / "bob.npz", recorded().shown[0])
    return folder, device.load(*files)


def test_adapting_again_goes_on(guard: tuple[Path, device.Archetype]) -> None:
    folder, archetype = guard
    shown = device.read_demonstration(folder / "bob.npz")
    begun = device.begin(archetype, [1])
    halves = [device.Demonstration(*(part[rows] for part in shown)) for rows in (slice(0, 25), slice(25, 60))]
    at_once = device.adapt(archetype, begun, [shown])
    in_turn = device.adapt(archetype, device.adapt(archetype, begun, [halves[0]]), [halves[1]])
    assert set(at_once) == set(begun)
    for name, value in at_once.items():
        np.testing.assert_allclose(in_turn[name], value, rtol=1e-4, atol=1e-5)


def test_nothing_shown_changes_nothing(guard: tuple[Path, device.Archetype]) -> None:
    folder, archetype = guard
    shown = device.read_demonstration(folder / "bob.npz")
    none = device.Demonstration(*(part[:0] for part in shown))
    begun = device.begin(archetype, [1, 2])
    adapted = device.adapt(archetype, begun, [shown, none])
    for name, value in adapted.items():
        np.testing.assert_array_equal(value[1], begun[name][1])
    assert any((value[0] != begun[name][0]).any() for name, value in adapted.items())


def test_a_crowd_acts_within_its_masks_and_not_in_unison(guard: tuple[Path, device.Archetype]) -> None:
    _, archetype = guard
    crowd = device.rows(device.begin(archetype, [5]), [0] * 200)
    seen = np.zeros((200, archetype.observation_size), np.float32)
    allowed = np.tile(np.array([True, False, True, False, True]), (200, 1))
    noise = device.draw_noise(archetype, np.random.default_rng(0), 200)
    continuous, discrete = device.act(archetype, crowd, seen, allowed, noise)
    assert len(np.unique(continuous)) > 100
    assert set(discrete[:, 0]) == {0, 2}
    assert set(discrete[:, 1]) == {1}
    steady, _ = device.act(archetype, crowd, seen)
    assert len(np.unique(steady)) == 1


def test_what_does_not_fit_says_what_came(guard: tuple[Path, device.Archetype], tmp_path: Path) -> None:
    folder, archetype = guard
    shown = device.read_demonstration(folder / "bob.npz")
    begun = device.begin(archetype, [1])
    with pytest.raises(ValueError, match=r"observations are \[1, 3\], expected \[n, 4\]"):
        device.act(archetype, begun, np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="expected one for each"):
        device.adapt(archetype, begun, [shown, shown])
    with pytest.raises(ValueError, match=r"continuous_actions of a demonstration are \[60, 3\], expected \[60, 1\]"):
        device.adapt(archetype, begun, [shown._replace(continuous_actions=np.zeros((60, 3), np.float32))])
    holed = shown.observations.copy()
    holed[7, 2] = np.nan
    with pytest.raises(ValueError, match="observations of a demonstration, row 7, column 2: nan, expected a finite"):
        device.adapt(archetype, begun, [shown._replace(observations=holed)])
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"text\.npz cannot be read"):
        device.read_demonstration(tmp_path / "text.npz")
    locked = re.sub(rb"(PK\x01\x02.{4}).", rb"\1" + b"\1", (folder / "bob.npz").read_bytes(), flags=re.DOTALL)
    (tmp_path / "locked.npz").write_bytes(locked)
    with pytest.raises(ValueError, match=r"locked\.npz cannot be read .* encrypted"):
        device.read_demonstration(tmp_path / "locked.npz")
    names = [folder / f"guard.{graph}.onnx" for graph in ("adapt", "begin", "policy")]
    with pytest.raises(ValueError, match="is no begin graph of npcmeta: its target is adapt"):
        device.load(*names)


def test_it_runs_as_a_program(guard: tuple[Path, device.Archetype], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = guard
    main = runpy.run_path(str(PROGRAM))["main"]
    main(*(str(folder / f"guard.{graph}.onnx") for graph in ("begin", "adapt", "policy")), str(folder / "bob.npz"))
    said = capsys.readouterr().out
    assert "before: continuous actions off by" in said
    assert "after 60 examples:" in said
    assert "% of choices the same" in said


def test_mistakes_are_one_line_and_an_exit_status(guard: tuple[Path, device.Archetype], tmp_path: Path) -> None:
    folder, _ = guard
    begin, inner, policy = (str(folder / f"guard.{graph}.onnx") for graph in ("begin", "adapt", "policy"))
    clip, cut, text = folder / "bob.npz", tmp_path / "cut.npz", tmp_path / "text.onnx"
    cut.write_bytes(clip.read_bytes()[:-40])
    text.write_text("no graph")
    np.savez(tmp_path / "narrow.npz", observations=np.zeros((5, 3), np.float32))
    for arguments, said in (
        ([inner, begin, policy, clip], "is no begin graph of npcmeta"),
        ([begin, inner, policy, cut], "cut.npz cannot be read as an .npz file"),
        ([begin, inner, policy, tmp_path / "none.npz"], "none.npz cannot be read"),
        (
            [begin, inner, policy, tmp_path / "narrow.npz"],
            "observations of a demonstration are [5, 3], expected [5, 4]",
        ),
        ([begin, inner, text, clip], "text.onnx cannot be loaded as an ONNX file"),
        ([begin, inner, tmp_path / "none.onnx", clip], "none.onnx cannot be loaded as an ONNX file"),
    ):
        ended = subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True)
        assert ended.returncode == 1
        assert ended.stderr.startswith("error: ")
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr


def test_the_file_needs_numpy_and_onnxruntime_alone() -> None:
    lines = [line.split()[1].split(".")[0] for line in PROGRAM.read_text().splitlines()
             if line.startswith(("import ", "from "))]  # fmt: skip
    assert set(lines) - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}
