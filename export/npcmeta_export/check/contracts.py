"""What each target's engine accepts, as data: the checks read it, and so do the tests of the exporter."""

from __future__ import annotations

from typing import NamedTuple

from onnx import TensorProto

from npcmeta_export.operators import SENTIS_2_1

FLOAT, INT32, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL
UNITY_KINDS = frozenset(
    {FLOAT, INT32, INT64, BOOL, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT8}
)
"""Element types that Unity's importer reads; it makes float32 or int32 of all of them."""


class Port(NamedTuple):
    """An input or an output that an engine knows by its name."""

    name: str  # a star at the end stands for anything
    kinds: tuple[int, ...]
    axes: tuple[str, ...]  # n: rows, s: examples, both dynamic; a digit: just that; ...: any further axes
    needed: bool = False

    def matches(self, name: str) -> bool:
        """Whether a value of this name is this port's."""
        return name.startswith(self.name[:-1]) if self.name.endswith("*") else name == self.name


class Contract(NamedTuple):
    """What an engine accepts."""

    engine: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    names_bind: bool = True  # whether the engine looks for these names, or takes any
    opsets: tuple[int, int] = (7, 15)
    newer_opsets: bool = False  # whether later releases of the engine take later ones
    newest_ir: int = 8
    operators: frozenset[str] | None = SENTIS_2_1  # none: whatever ONNX has
    kinds: frozenset[int] | None = UNITY_KINDS  # none: whatever ONNX has
    max_dimensions: int | None = 8
    narrows: bool = True  # whether integers become int32 and floats float32
    float64: bool = False  # whether float64 is meant to be inside, where it is not narrowed
    batches: bool = True  # whether it runs many rows at once
    draws: tuple[str, ...] = ()  # outputs that may be drawn at random inside


OBSERVATION = Port("observation", (FLOAT,), ("n", "O"), needed=True)
NOISE = Port("noise", (FLOAT,), ("n", "C+W"))
MASK = Port("action_mask", (BOOL,), ("n", "W"))
ACTIONS = (
    Port("continuous_actions", (FLOAT,), ("n", "C")),
    Port("discrete_actions", (INT64,), ("n", "B")),
    Port("head_params", (FLOAT,), ("n", "P"), needed=True),
)
DRAWN = ("continuous_actions", "discrete_actions")
ONE_NPC = (OBSERVATION, MASK, NOISE)

CONTRACTS: dict[str, Contract] = {
    "policy": Contract(
        "npcmeta's device loop and server",
        (*ONE_NPC, Port("state.*", (FLOAT,), ("n", "..."))),
        ACTIONS,
    ),
    "adapt": Contract(
        "npcmeta's device loop",
        (
            Port("observation", (FLOAT,), ("n", "s", "O"), needed=True),
            Port("continuous_actions", (FLOAT,), ("n", "s", "C")),
            Port("discrete_actions", (INT64,), ("n", "s", "B")),
            Port("action_mask", (BOOL,), ("n", "s", "W")),
            Port("weight", (FLOAT,), ("n", "s"), needed=True),
            Port("state.*", (FLOAT,), ("n", "...")),
        ),
        (Port("adapted.*", (FLOAT,), ("n", "..."), needed=True),),
        float64=True,
    ),
    "begin": Contract(
        "npcmeta's device loop",
        (Port("noise", (FLOAT,), ("n", "Z"), needed=True),),
        (Port("state.*", (FLOAT,), ("n", "..."), needed=True),),
    ),
    "ort": Contract(
        "ONNX Runtime",
        ONE_NPC,
        ACTIONS,
        names_bind=False,
        opsets=(7, 21),
        newer_opsets=True,
        newest_ir=10,
        operators=None,
        kinds=None,
        max_dimensions=None,
        narrows=False,
        draws=DRAWN,
    ),
    "mlagents": Contract(
        "Unity ML-Agents",
        (
            Port("obs_*", (FLOAT,), ("n", "..."), needed=True),
            Port("action_masks", (FLOAT,), ("n", "W")),
            Port("recurrent_in", (FLOAT,), ("n", "1", "memory")),
            Port("epsilon", (FLOAT,), ("n", "C")),
            Port("prev_action", (INT32, INT64, FLOAT), ("n", "B")),
        ),
        (
            Port("version_number", (FLOAT,), ("1",), needed=True),
            Port("memory_size", (FLOAT,), ("1",), needed=True),
            Port("continuous_actions", (FLOAT,), ("n", "C")),
            Port("continuous_action_output_shape", (FLOAT,), ("1",)),
            Port("deterministic_continuous_actions", (FLOAT,), ("n", "C")),
            Port("discrete_actions", (INT32, INT64), ("n", "B")),
            Port("discrete_action_output_shape", (FLOAT,), ("1", "B")),
            Port("deterministic_discrete_actions", (INT32, INT64), ("n", "B")),
            Port("recurrent_out", (FLOAT,), ("n", "1", "memory")),
        ),
        draws=DRAWN,
    ),
    "sentis": Contract(
        "Unity Sentis",
        (
            OBSERVATION,
            Port("action_mask", (FLOAT, INT32, BOOL), ("n", "W")),
            NOISE,
            Port("state.*", (FLOAT,), ("n", "...")),
        ),
        (
            Port("continuous_actions", (FLOAT,), ("n", "C")),
            Port("discrete_actions", (INT32, INT64), ("n", "B")),
            Port("head_params", (FLOAT,), ("n", "P")),
        ),
        names_bind=False,
        draws=DRAWN,
    ),
    "godot": Contract(
        "Godot RL Agents",
        (Port("obs", (FLOAT,), ("n", "O"), needed=True), Port("state_ins", (FLOAT,), ("n",), needed=True)),
        (
            Port("output", (FLOAT,), ("n", "C+W"), needed=True),
            Port("state_outs", (FLOAT,), ("...",), needed=True),
        ),
        opsets=(7, 18),
        newest_ir=9,
        operators=None,
        kinds=None,
        max_dimensions=None,
        narrows=False,
        batches=False,
        draws=("output",),
    ),
}
