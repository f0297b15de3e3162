"""What a folder of assets says of itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx
import pytest
import torch

from npcmeta import __version__
from npcmeta.archetype import save_npc
from npcmeta.header import read_metadata
from npcmeta_export import export
from tests.export.archetypes import ACTIONS, changed_npc, make_archetype


def test_the_file_says_where_it_comes_from(tmp_path: Path) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["discrete"])
    shown = {"observations": torch.zeros(2, 7), "weights": torch.ones(2)}
    npc = changed_npc(archetype)._replace(demonstrations=(shown,))
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


@pytest.mark.parametrize("text", ["", "[]", '{"assets": 5}', '{"assets": [1]}', '{"assets": [{}]}', "[" * 100_000])
def test_what_is_no_manifest_is_left_alone(tmp_path: Path, text: str) -> None:
    archetype = make_archetype(tmp_path, "cnp", ACTIONS["discrete"])
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match="is not a manifest of npcmeta; move it away"):
        export(archetype, "begin", tmp_path)
    assert (tmp_path / "manifest.json").read_text() == text
    assert not list(tmp_path.glob("*.onnx"))
