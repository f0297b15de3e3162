"""Revisions of one archetype, and a server that begins with the first."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from npcmeta_server.demo import host
from tests.server import conftest
from tests.server.upgrading.playing import Files, Upgrading


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folders = [tmp_path_factory.mktemp(name) for name in ("old", "new", "worse")]
    old, _, _ = (
        conftest.save("guard", folder, seed, trained=seed != 3) for folder, seed in zip(folders, (1, 2, 3), strict=True)
    )
    new, worse = ((folder / "guard.safetensors").read_bytes() for folder in folders[1:])
    return Files(folders[0], old, new, worse)


@pytest.fixture
def server(files: Files, tmp_path: Path) -> Iterator[host.Address]:
    with host.server(files.folder, tmp_path / "npcs.db", tmp_path / "log") as address:
        yield address
    assert " ERROR npcmeta_server" not in (tmp_path / "log").read_text()


@pytest.fixture
def upgrading(server: host.Address) -> Iterator[Upgrading]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield Upgrading(channel)
