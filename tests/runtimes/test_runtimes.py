"""Our ONNX files in other runtimes than Python's: onnxruntime-node and onnxruntime-web (WebAssembly)."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from torch import Generator

from npcmeta.archetype import Archetype, save_archetype
from npcmeta.types import BehaviorSpec, Normaliser
from npcmeta_export import TARGETS, adapt, export, load_session
from tests import toys

pytestmark = pytest.mark.xdist_group("runtimes")  # what is compared is made once
HERE = Path(__file__).parent
LEARNERS = {"bayes": "mixed", "maml": "discrete", "latent_np": "continuous"}
"""One of each kind: closed form, gradient steps, and one that draws."""
ROWS = 3


class Job(NamedTuple):
    """A file, what it is fed, and what Python's onnxruntime makes of it."""

    model: Path
    feeds: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    return {name: job for learner, kind in LEARNERS.items()
            for name, job in made(tmp_path_factory.mktemp(learner), learner, kind)}  # fmt: skip


@pytest.fixture(scope="module", params=["node", "web"])
def results(request: pytest.FixtureRequest, jobs: dict[str, Job], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The outputs of every job in one runtime, by the job's name."""
    if shutil.which("node") is None or not (HERE / "node_modules").is_dir():
        pytest.skip("onnxruntime for node and the web is not installed; scripts/runtimes does it, with nodejs and npm")
    folder = tmp_path_factory.mktemp("jobs")
    described = [{"model": str(job.model), "feeds": encoded(job.feeds)} for job in jobs.values()]
    (folder / "jobs.json").write_text(json.dumps(described))
    command = ["node", "run.mjs", request.param, str(folder / "jobs.json"), str(folder / "results.json")]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "results.json").read_text())
    return {name: decoded(tensors) for name, tensors in zip(jobs, found, strict=True)}


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_file_gives_what_it_gives_in_python(
    jobs: dict[str, Job], results: dict[str, dict[str, np.ndarray]], learner: str
) -> None:
    mine = [name for name in jobs if name.startswith(f"{learner}/")]
    assert len(mine) >= 4
    for name in mine:
        expected, found = jobs[name].expected, results[name]
        assert set(found) == set(expected)
        for output, value in expected.items():
            assert found[output].dtype == value.dtype, (name, output)
            np.testing.assert_allclose(found[output], value, rtol=1e-4, atol=1e-5, err_msg=f"{name}: {output}")


def made(folder: Path, learner: str, kind: str) -> Iterator[tuple[str, Job]]:
    """Every target of one archetype, except those whose outputs are drawn inside the graph."""
    archetype = archetype_of(folder, learner, kind)
    for target in TARGETS:
        path = export(archetype, target, folder)[0]
        session = load_session(path)
        feeds = drawn(session, archetype, target)
        names = [output.name for output in session.get_outputs()]
        expected, again = (dict(zip(names, session.run(names, feeds), strict=True)) for _ in range(2))
        if all(np.array_equal(expected[name], again[name]) for name in names):
            yield f"{learner}/{target}", Job(path, feeds, expected)


def archetype_of(folder: Path, learner: str, kind: str) -> Archetype:
    settings = toys.small_settings(learner, inner_rate=0.05)
    spec = BehaviorSpec(7, toys.ACTIONS[kind], 10.0)
    meta = settings.build(spec).init(Generator().manual_seed(3))
    normaliser = Normaliser((0.1,) * 7, (1.2,) * 7)
    return save_archetype(
        Archetype("guard", "arena", learner, settings, spec, normaliser, {}, {}, meta), folder / "guard.safetensors"
    )


def drawn(session: Any, archetype: Archetype, target: str) -> dict[str, np.ndarray]:
    """Demonstrations for the inner loop; for the others, random numbers, and masks that allow everything."""
    if target == "adapt":
        given = adapt.example_inputs(archetype, ROWS, 11, Generator().manual_seed(1))
        return {value.name: given[value.name].numpy() for value in session.get_inputs()}
    random, feeds = np.random.default_rng(0), {}
    for value in session.get_inputs():
        shape = [ROWS if isinstance(axis, str) else axis for axis in value.shape]
        if "mask" in value.name:
            feeds[value.name] = np.ones(shape, bool if value.type == "tensor(bool)" else np.float32)
        else:
            feeds[value.name] = (0.3 * random.standard_normal(shape)).astype(np.float32)
    return feeds


def encoded(tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        name: {"type": value.dtype.name, "dims": value.shape, "data": base64.b64encode(value.tobytes()).decode()}
        for name, value in tensors.items()
    }


def decoded(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    return {
        name: np.frombuffer(base64.b64decode(entry["data"]), entry["type"]).reshape(entry["dims"])
        for name, entry in tensors.items()
    }
