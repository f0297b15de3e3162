"""`policy`: one file for every NPC of an archetype, the acting state as inputs."""

from __future__ import annotations

import onnx
from torch import Tensor

from npcmeta.archetype import Archetype
from npcmeta_export.ort import ORT
from npcmeta_export.template import shared_model


def policy_model(archetype: Archetype, recorded: Tensor | None = None) -> onnx.ModelProto:
    """The policy graph of an archetype.

    Inputs: `observation` [n, O] float32, `state.<key>` [n, ...] for every acting key of the learner's state,
    `action_mask` [n, W] bool (with discrete branches only; True = allowed), `noise` [n, C + W] float32 (zeros give
    the most likely action). Outputs: `continuous_actions` [n, C] (if C > 0), `discrete_actions` [n, B] int64 (if
    B > 0), `head_params` [n, P].

    Raises:
        ParityError: If onnxruntime would not compute what torch does.
    """
    return shared_model(archetype, ORT, "policy", recorded)
