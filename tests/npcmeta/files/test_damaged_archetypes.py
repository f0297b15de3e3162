"""A damaged, foreign or oversized file is no archetype, and the same error says what it is."""

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from npcmeta.archetype import (
    Archetype,
    ArchetypeFileError,
    begin_npc,
    load_archetype,
    npc_from_bytes,
    npc_to_bytes,
    save_archetype,
)
from tests.npcmeta.forging import damaged, field, forged, quick, reading


@pytest.mark.parametrize("levels", [100, 900, 950, 970, 980, 985, 990, 995, 1000, 10_000])
def test_deep_nesting(levels: int, content: bytes, folder: Path) -> None:
    deep = forged(content, field("split", {"x": "DEEP"})).replace(b'\\"DEEP\\"', b"[" * levels + b"]" * levels)
    grown = int.from_bytes(deep[:8], "little") + 2 * levels - len('\\"DEEP\\"')
    with pytest.raises(ArchetypeFileError):
        reading(struct.pack("<Q", grown) + deep[8:], folder)


@pytest.mark.parametrize("share", [0, 0.0005, 0.001, 0.01, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_truncated_archetype(share: float, content: bytes, folder: Path) -> None:
    with pytest.raises(ArchetypeFileError, match=r"cut off|intact"):
        reading(content[: int(len(content) * share)], folder)


def test_archetype_with_something_behind_it(content: bytes, folder: Path) -> None:
    with pytest.raises(ArchetypeFileError, match="intact"):
        reading(content + b"\0", folder)


@quick
@given(data=st.data())
def test_any_truncation_or_flip_of_an_archetype(data: st.DataObject, content: bytes, folder: Path) -> None:
    changed = damaged(data, content)
    try:
        loaded = reading(changed, folder)
    except ArchetypeFileError:
        return
    # Only the white space between the values of a header can change unnoticed.
    save_archetype(loaded, folder / "again.safetensors")
    assert (folder / "again.safetensors").read_bytes() == content


@quick
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda b: struct.pack("<Q", len(b)) + b))
def test_garbage_is_no_archetype(folder: Path, data: bytes) -> None:
    with pytest.raises(ArchetypeFileError):
        reading(data, folder)


def test_foreign_files(saved: Archetype, content: bytes, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchetypeFileError, match="no npcmeta header"):
        reading(save({"weight": torch.zeros(3)}), folder)
    with pytest.raises(ArchetypeFileError, match="no npcmeta header"):
        reading(save({"weight": torch.zeros(3)}, {"npcmeta": "not json"}), folder)
    with pytest.raises(ArchetypeFileError, match='names "nothing"'):
        reading(save({"weight": torch.zeros(3)}, {"npcmeta": "[]"}), folder)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "pickle.pt")
    with pytest.raises(ArchetypeFileError, match=r"pickle\.pt"):
        load_archetype(tmp_path / "pickle.pt")
    with pytest.raises(ArchetypeFileError, match=r'names "npcmeta\.npc"'):
        reading(npc_to_bytes(begin_npc(saved, "bob")), folder)
    with pytest.raises(ArchetypeFileError, match=r'names "npcmeta\.archetype", expected "npcmeta\.npc"'):
        npc_from_bytes(content, saved, source="bob")


@pytest.mark.parametrize("kind", ["F4", "F8_E8M0", "F6_E2M3", "BF16", "C64"])
def test_number_formats_that_torch_or_numpy_lack(kind: str, content: bytes, folder: Path) -> None:
    size = int.from_bytes(content[:8], "little")
    outer = json.loads(content[8 : 8 + size])
    bits = {"F4": 4, "F8_E8M0": 8, "F6_E2M3": 6, "BF16": 16, "C64": 64}[kind]
    lone = {"0.bias": {"dtype": kind, "shape": [8], "data_offsets": [0, bits]}, "__metadata__": outer["__metadata__"]}
    text = json.dumps(lone).encode()
    with pytest.raises(ArchetypeFileError):
        reading(struct.pack("<Q", len(text)) + text + b"\0" * bits, folder)


def test_missing_folder_and_oversized(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with pytest.raises(ArchetypeFileError, match="No such file"):
        load_archetype(folder / "nobody.safetensors")
    with pytest.raises(ArchetypeFileError, match="directory"):
        load_archetype(folder)
    monkeypatch.setattr("npcmeta.archetype.MAX_FILE_BYTES", 100)
    with pytest.raises(ArchetypeFileError, match="expected at most 100"):
        reading(content, folder)
