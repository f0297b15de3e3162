"""`state`: what one NPC is, for graphs that serve all of them."""

from __future__ import annotations

from safetensors.torch import save

from npcmeta.archetype import Archetype
from npcmeta.types import Params
from npcmeta_export import engine
from npcmeta_export.template import by_name_of


def state_file(archetype: Archetype, state: Params) -> bytes:
    """The content of a safetensors file of the `state.<key>` inputs of graphs for all NPCs, [1, ...] each.

    Its data, the bytes behind the header, are the float32 numbers of `obs_1` of the `mlagents` graph: safetensors
    keeps tensors of one type in order of name, as that does.
    """
    return save(by_name_of(engine.policy_of(archetype), state))
