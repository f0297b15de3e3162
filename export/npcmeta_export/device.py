"""The inner loop on the player's device: what a shipped game does, with numpy and onnxruntime alone.

This file imports nothing else, so that a game's tools can take it as it is; docs/assets.md describes the same sequence
for Unity Sentis and C#. Three files of one archetype do everything:

    begin   noise                    -> state.*      unadapted characters
    adapt   demonstrations, state.*  -> adapted.*    the inner loop; again with its own output, it refines
    policy  observations, state.*    -> actions      every frame, many characters in one run

    archetype = load("guard.begin.onnx", "guard.adapt.onnx", "guard.policy.onnx")
    state = adapt(archetype, begin(archetype, seeds=[7]), [read_demonstration("bob.npz")])
    continuous, discrete = act(archetype, state, observation)

As a script, it says how far a character is from a demonstration before and after it was adapted to it:

    python device.py guard.begin.onnx guard.adapt.onnx guard.policy.onnx bob.npz
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

State = dict[str, np.ndarray]
"""What characters are: tensors [n, ...] by name, a row for each; save and load it as the game saves all else."""
KINDS = {"observations": np.float32, "continuous_actions": np.float32, "discrete_actions": np.int64,
         "action_masks": np.bool_}  # fmt: skip


class Demonstration(NamedTuple):
    """A recorded clip of one character; row t holds what it saw at t and what it then did."""

    observations: np.ndarray  # [t, O] float32
    continuous_actions: np.ndarray  # [t, C] float32
    discrete_actions: np.ndarray  # [t, B] int64
    action_masks: np.ndarray  # [t, W] bool, True = allowed; [t, 0] if everything was


class Archetype(NamedTuple):
    """The three graphs, and the sizes that they have."""

    begin: onnxruntime.InferenceSession
    adapt: onnxruntime.InferenceSession
    policy: onnxruntime.InferenceSession
    observation_size: int
    continuous_size: int
    branches: int
    mask_size: int


def load(begin: str | Path, adapt: str | Path, policy: str | Path) -> Archetype:
    """Loads the graphs of one archetype.

    Raises:
        ValueError: If they are not those of one archetype revision.
    """
    first, inner, acting = sessions = [_session(path) for path in (begin, adapt, policy)]
    facts = [session.get_modelmeta().custom_metadata_map for session in sessions]
    for path, expected, found in zip((begin, adapt, policy), ("begin", "adapt", "policy"), facts, strict=True):
        if found.get("npcmeta.target") != expected:
            raise ValueError(f"{path} is no {expected} graph of npcmeta: its target is {found.get('npcmeta.target')}")
    if len({found.get("npcmeta.archetype_revision") for found in facts}) > 1:
        raise ValueError(f"{begin}, {adapt} and {policy} are of different archetypes; export all three again")
    given = {value.name: value.shape[-1] for value in acting.get_inputs()}
    made = {value.name: value.shape[-1] for value in acting.get_outputs()}
    actions = made.get("continuous_actions", 0), made.get("discrete_actions", 0)
    return Archetype(first, inner, acting, given["observation"], *actions, given.get("action_mask", 0))


def begin(archetype: Archetype, seeds: Sequence[int]) -> State:
    """Characters before any example, one for each seed; seeds matter to learners that draw."""
    size = archetype.begin.get_inputs()[0].shape[1]
    noise = [np.random.default_rng(seed).standard_normal(size, np.float32) for seed in seeds]
    return _run(archetype.begin, {"noise": np.stack(noise)})


def read_demonstration(path: str | Path) -> Demonstration:
    """Reads a recording; see docs/assets.md for the arrays in it.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            found: State = {name: np.asarray(file[name], kind) for name, kind in KINDS.items() if name in file}
    except Exception as error:  # those of zip files, of what is packed in them and of arrays have no class in common
        raise ValueError(f"{path} cannot be read as an .npz file: {error}") from error
    if "observations" not in found or found["observations"].ndim != 2:
        raise ValueError(f"{path} holds no observations [t, O]")
    absent: State = {name: np.zeros((len(found["observations"]), 0), kind) for name, kind in KINDS.items()}
    return Demonstration(**absent | found)


def adapt(archetype: Archetype, state: State, demonstrations: Sequence[Demonstration]) -> State:
    """The inner loop, for all characters at once.

    Args:
        archetype: The graphs.
        state: Of `begin`, or of `adapt` itself: then it goes on from there.
        demonstrations: One for each character, of any length.

    Raises:
        ValueError: If a demonstration does not fit the archetype, or there are more or fewer than characters.
    """
    characters = len(next(iter(state.values())))
    if len(demonstrations) != characters:
        raise ValueError(f"{len(demonstrations)} demonstrations for {characters} characters; expected one for each")
    masked = [_check(archetype, demonstration) for demonstration in demonstrations]
    fed = {
        "observation": _padded([shown.observations for shown in masked]),
        "continuous_actions": _padded([shown.continuous_actions for shown in masked]),
        "discrete_actions": _padded([shown.discrete_actions for shown in masked]),
        # Padding allows everything: a row where nothing is allowed has no probabilities.
        "action_mask": _padded([shown.action_masks for shown in masked], fill=True),
        "weight": _padded([np.ones(len(shown.observations), np.float32) for shown in masked]),
    }
    reached = _run(archetype.adapt, fed | state)
    return state | {f"state.{name.removeprefix('adapted.')}": value for name, value in reached.items()}


def act(
    archetype: Archetype,
    state: State,
    observations: np.ndarray,
    action_masks: np.ndarray | None = None,
    noise: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """One decision of each character.

    Args:
        archetype: The graphs.
        state: [n, ...], a row for each character that decides; `rows` picks them.
        observations: [n, O].
        action_masks: [n, W], True = allowed; everything if left out.
        noise: Of `draw_noise`, a row for each; the most likely action if left out.

    Returns:
        Continuous actions [n, C] and discrete ones [n, B].
    """
    made, none = decide(archetype, state, observations, action_masks, noise), (len(observations), 0)
    continuous = made.get("continuous_actions", np.zeros(none, np.float32))
    return continuous, made.get("discrete_actions", np.zeros(none, np.int64))


def decide(
    archetype: Archetype,
    state: State,
    observations: np.ndarray,
    action_masks: np.ndarray | None = None,
    noise: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """All outputs of the policy graph, `head_params` among them; arguments are those of `act`."""
    rows, noise_size = len(observations), archetype.continuous_size + archetype.mask_size
    if observations.shape != (rows, archetype.observation_size):
        raise ValueError(f"observations are {list(observations.shape)}, expected [n, {archetype.observation_size}]")
    _check_finite("observations", observations)
    fed = {
        "observation": observations.astype(np.float32),
        "action_mask": np.ones((rows, archetype.mask_size), bool) if action_masks is None else action_masks,
        "noise": np.zeros((rows, noise_size), np.float32) if noise is None else noise,
    }
    return _run(archetype.policy, fed | state)


def draw_noise(archetype: Archetype, generator: np.random.Generator, characters: int) -> np.ndarray:
    """Noise for `act`: normal for continuous actions, Gumbel for discrete ones, different for every character."""
    normal = generator.standard_normal((characters, archetype.continuous_size))
    return np.concatenate([normal, generator.gumbel(size=(characters, archetype.mask_size))], 1).astype(np.float32)


def rows(state: State, chosen: Sequence[int]) -> State:
    """The states of some of the characters; one index many times is one character in many bodies."""
    return {name: value[list(chosen)] for name, value in state.items()}


def _session(path: str | Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own have no other class in common
        raise ValueError(f"{path} cannot be loaded as an ONNX file: {error}") from error


def _run(session: onnxruntime.InferenceSession, fed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs a graph on those of the tensors that it reads: what a learner does not need is no input of its graphs."""
    made = session.run(None, {value.name: fed[value.name] for value in session.get_inputs()})
    return dict(zip([value.name for value in session.get_outputs()], made, strict=True))


def _check(archetype: Archetype, shown: Demonstration) -> Demonstration:
    """The demonstration with a mask, if it fits."""
    steps = len(shown.observations)
    if not shown.action_masks.size:
        shown = shown._replace(action_masks=np.ones((steps, archetype.mask_size), bool))
    widths = (archetype.observation_size, archetype.continuous_size, archetype.branches, archetype.mask_size)
    for name, array, width in zip(Demonstration._fields, shown, widths, strict=True):
        if array.shape != (steps, width):
            raise ValueError(f"{name} of a demonstration are {list(array.shape)}, expected [{steps}, {width}]")
        _check_finite(f"{name} of a demonstration", array)
    return shown


def _check_finite(name: str, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{name}, row {row}, column {column}: {array[row, column]}, expected a finite number")


def _padded(arrays: list[np.ndarray], fill: float = 0) -> np.ndarray:
    """Arrays [t, ...] of different lengths as one [n, s, ...], where s is the longest of them and at least 1."""
    batch = np.full((len(arrays), max(1, *map(len, arrays)), *arrays[0].shape[1:]), fill, arrays[0].dtype)
    for place, array in zip(batch, arrays, strict=True):
        place[: len(array)] = array
    return batch


def _distance(archetype: Archetype, state: State, shown: Demonstration) -> str:
    """How the most likely actions differ from those that were shown."""
    steps = len(shown.observations)
    continuous, discrete = act(archetype, rows(state, [0] * steps), shown.observations, shown.action_masks)
    parts = []
    if archetype.continuous_size:
        parts.append(f"continuous actions off by {np.abs(continuous - shown.continuous_actions).mean():.4f}")
    if archetype.branches:
        parts.append(f"{100 * (discrete == shown.discrete_actions).mean():.1f} % of choices the same")
    return ", ".join(parts)


def main(begin_file: str, adapt_file: str, policy_file: str, recording: str) -> None:
    """Says what adapting to a recording changes."""
    archetype = load(begin_file, adapt_file, policy_file)
    shown = _check(archetype, read_demonstration(recording))
    state = begin(archetype, seeds=[0])
    print(f"before: {_distance(archetype, state, shown)}")
    print(f"after {len(shown.observations)} examples: {_distance(archetype, adapt(archetype, state, [shown]), shown)}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: device.py BEGIN.onnx ADAPT.onnx POLICY.onnx DEMONSTRATION.npz")
    try:
        main(*sys.argv[1:])
    except ValueError as mistake:
        sys.exit(f"error: {mistake}")
