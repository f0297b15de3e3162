"""Forges and damages files, as somebody may who knows the format, or a disk."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from npcmeta import header
from npcmeta.archetype import Archetype, load_archetype
from npcmeta.types import Normaliser, Params
from tests import toys

Header = dict[str, Any]


def archetype_of(learner: str, kind: str = "mixed", name: str = "guard") -> Archetype:
    chosen = toys.small_settings(learner)
    meta = chosen.build(toys.spec(kind)).init(torch.Generator().manual_seed(0))
    return Archetype(name, "toy", learner, chosen, toys.spec(kind), Normaliser((0.0,) * 3, (1.0,) * 3), {}, {}, meta)


def reading(data: bytes, folder: Path) -> Archetype:
    (folder / "changed.safetensors").write_bytes(data)
    return load_archetype(folder / "changed.safetensors")


def forged(data: bytes, edit: Callable[[Header, Params], object]) -> bytes:
    """The file after `edit`, with the digest of its new content: what somebody who knows the format can write."""
    size = int.from_bytes(data[:8], "little")
    described, tensors = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["npcmeta"]), load(data)
    del described["revision"]
    edit(described, tensors)
    described.setdefault("revision", header.digest(described, {k: v for k, v in tensors.items() if is_numpy(v)}))
    return save(tensors, {"npcmeta": json.dumps(described)})


def is_numpy(tensor: torch.Tensor) -> bool:
    return tensor.dtype != torch.bfloat16


def field(key: str, value: object, *inside: str) -> Callable[[Header, Params], object]:
    def edit(described: Header, _: Params) -> None:
        for name in inside:
            described = described[name]
        described[key] = value

    return edit


def tensor(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Header, Params], object]:
    return lambda _, tensors: tensors.update({max(tensors): change(tensors[max(tensors)])})


def nan_at_the_end(value: torch.Tensor) -> torch.Tensor:
    value = value.clone()
    value.view(-1)[-1] = math.nan
    return value


quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def damaged(data: st.DataObject, content: bytes) -> bytes:
    header_end = 8 + int.from_bytes(content[:8], "little")
    at = data.draw(st.integers(0, header_end - 1) | st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        return content[:at]
    flipped = bytes([content[at] ^ data.draw(st.integers(1, 255))])
    return content[:at] + flipped + content[at + 1 :]
