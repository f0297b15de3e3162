"""A real server in a process of its own, with three small archetypes."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from torch import Generator

from npcmeta.archetype import Archetype, load_archetype, save_archetype
from npcmeta.types import Normaliser
from npcmeta_server import logs
from npcmeta_server.demo import host
from tests import toys
from tests.contract.cases import build_case, meta_train
from tests.server.client import Client
from tests.server.store.postgres import Cluster

ARCHETYPES = {
    "guard": ("cnp", "mixed"),
    "scout": ("maml", "discrete"),
    "painter": ("cnp", "continuous"),
    "warden": ("bayes", "mixed"),
}
"""By name: the learner, and the kind of actions."""


def save(name: str, folder: Path, seed: int | None = None, *, trained: bool = True) -> Archetype:
    """Writes an archetype that was meta-trained a little on toy characters; each seed gives another revision of it."""
    case = build_case(*ARCHETYPES[name])
    meta = case.trained if trained else case.meta
    if seed is not None:
        meta = case.learner.init(Generator().manual_seed(seed))
        meta = meta_train(case.learner, meta, case.kind)[0] if trained else meta
    normaliser = Normaliser((0.0,) * toys.OBSERVATION, (1.0,) * toys.OBSERVATION)
    draft = Archetype(name, "toy", case.name, case.settings, toys.spec(case.kind), normaliser, {}, {}, meta)
    return save_archetype(draft, folder / f"{name}.safetensors")


@pytest.fixture(scope="session")
def archetype_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archetypes")
    for name in ARCHETYPES:
        save(name, folder)
    return folder


@pytest.fixture(scope="session")
def archetypes(archetype_folder: Path) -> dict[str, Archetype]:
    return {name: load_archetype(archetype_folder / f"{name}.safetensors") for name in ARCHETYPES}


@pytest.fixture(scope="session")
def server(archetype_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[host.Address]:
    folder = tmp_path_factory.mktemp("server")
    with host.server(archetype_folder, folder / "npcs.db", folder / "log") as address:
        yield address
    assert " ERROR npcmeta_server" not in (folder / "log").read_text()  # grpc logs clients that vanish in a write


@pytest.fixture
def client(server: host.Address) -> Iterator[Client]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield Client(channel)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with contextlib.closing(Cluster()) as started:
        yield started


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts the logging of the test run back as it was."""
    root, ours = logging.getLogger(), logging.getLogger("npcmeta_server")
    handlers, level, own = root.handlers[:], root.level, ours.level
    root.handlers = []  # those of pytest, which `configure` would close
    for name in (logs.FORMAT_VARIABLE, logs.LEVEL_VARIABLE):
        monkeypatch.setenv(name, "")
    yield
    root.handlers = handlers
    root.setLevel(level)
    ours.setLevel(own)
