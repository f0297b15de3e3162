"""Archetype files to forge and to damage."""

from pathlib import Path

import pytest

from npcmeta.archetype import Archetype, save_archetype
from tests.npcmeta.forging import archetype_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module", params=["maml", "cnp"])
def saved(request: pytest.FixtureRequest, folder: Path) -> Archetype:
    return save_archetype(archetype_of(request.param), folder / f"{request.param}.safetensors")


@pytest.fixture(scope="module")
def content(saved: Archetype, folder: Path) -> bytes:
    return (folder / f"{saved.learner_name}.safetensors").read_bytes()
