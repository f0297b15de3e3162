"""What Unity ML-Agents asks of a file beyond its names: constants to read, sizes that agree, no look-alikes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npcmeta_export.check.contracts import CONTRACTS
from npcmeta_export.check.findings import Finding, error, quote, quote_all, warning
from npcmeta_export.check.graphs import Graph, Node, Tensor, Value, constants

SCALARS = ("version_number", "memory_size", "continuous_action_output_shape", "discrete_action_output_shape")
VERSION = 3
NAMES = tuple(port.name for port in CONTRACTS["mlagents"].outputs)
COMPANIONS = {
    "continuous_actions": ("continuous_action_output_shape", "deterministic_continuous_actions"),
    "discrete_actions": ("discrete_action_output_shape", "deterministic_discrete_actions"),
}
MAX_CHAIN = 8
"""Identity operations that are looked through between a constant and an output."""
LEGACY = ("is_continuous_control", "action_output_shape", "action")
DETERMINISTIC = 'with "Deterministic Inference" ticked, ML-Agents asks for it and stops; without, nothing happens'


def check_mlagents(graph: Graph) -> Iterator[Finding]:
    """Findings that only ML-Agents' own reading of a file makes."""
    outputs = {value.name: value for value in graph.outputs}
    inputs = {value.name: value for value in graph.inputs}
    yield from _actions(graph, outputs, inputs)
    yield from _look_alikes(graph)
    yield from _shared(graph)
    yield from _scalars(graph, outputs, inputs)
    yield from _sensors(inputs)


def _actions(graph: Graph, outputs: dict[str, Value], inputs: dict[str, Value]) -> Iterator[Finding]:
    if not any(name in outputs for name in COMPANIONS):
        old = [name for name in LEGACY if name in outputs]
        what = f"; {quote_all(old)} are those of ML-Agents 1.x" if old else ""
        yield error(
            "missing-output",
            f"there are no actions among the outputs {quote_all(outputs) or 'none'}{what}",
            'ML-Agents says "The model does not contain any Action Output Node"',
            "name the outputs continuous_actions or discrete_actions, in output_names=[...]",
        )
    yield from _companions(graph, outputs)
    if "discrete_actions" in outputs and "action_masks" not in inputs:
        yield error(
            "missing-input",
            'there is no input "action_masks"',
            "ML-Agents reports it missing; masked actions would be taken all the same",
            "take action_masks [n, sum of the branches] float32, 1 = allowed, into the network",
        )


def _companions(graph: Graph, outputs: dict[str, Value]) -> Iterator[Finding]:
    """What has to stand beside each kind of actions."""
    for actions, (shape, deterministic) in COMPANIONS.items():
        if actions in outputs and shape not in outputs:
            yield error(
                "missing-output",
                f"there is no output {quote(shape)} beside {quote(actions)}",
                f"ML-Agents says that there is no Action Output Shape Node{_renamed(graph)}",
                "export the sizes as a float constant of their own, under this name",
            )
        if actions in outputs and deterministic not in outputs:
            yield warning(
                "missing-output",
                f"there is no output {quote(deterministic)}",
                DETERMINISTIC,
                "export the most likely action under this name as well",
            )


def _renamed(graph: Graph) -> str:
    """What the old exporter of torch does to constant outputs."""
    numbers = [value.name for value in graph.outputs if value.name.isdigit()]
    return f"; the old exporter of torch renamed constants to {quote_all(numbers)}" if numbers else ""


def _look_alikes(graph: Graph) -> Iterator[Finding]:
    for value in graph.outputs:
        if value.name in NAMES:
            continue
        if inside := [name for name in NAMES if name in value.name]:
            yield error(
                "look-alike",
                f"output {quote(value.name)} contains {quote(max(inside, key=len))}",
                "ML-Agents looks for names by substring and takes it for that output",
                "rename it, or leave it out: other outputs are not read",
            )


def _shared(graph: Graph) -> Iterator[Finding]:
    """Two outputs whose numbers come from one stored tensor: the importer keeps one name of the two."""
    stored, makers = constants(graph), _makers(graph)
    sources: dict[str, list[str]] = {}
    for value in graph.outputs:
        name = _source(value.name, stored, makers)
        if name is not None:
            sources.setdefault(name, []).append(value.name)
    for name, names in sources.items():
        if len(names) > 1:
            yield error(
                "shared-constant",
                f"outputs {quote_all(names)} share the constant {quote(name)}",
                'Unity folds them into one: "Graph output does not exist in the graph"',
                "give each output a Constant operation of its own, also where the numbers are equal",
            )


def _scalars(graph: Graph, outputs: dict[str, Value], inputs: dict[str, Value]) -> Iterator[Finding]:
    values = {name: _constant(graph, name) for name in SCALARS if name in outputs}
    for name, value in values.items():
        if value is None:
            yield error(
                "not-constant",
                f"output {quote(name)} is computed, not a constant",
                "ML-Agents reads it once, from a run with zeros as inputs, and builds its tensors by it",
                "export it as a float constant",
            )
    version = values.get("version_number")
    if version is not None and list(version.reshape(-1)) != [VERSION]:
        yield error(
            "version",
            f"version_number is {_text(version)}, expected {VERSION}",
            "ML-Agents 2 and 3 look for the names of another version, or say that it is not supported",
            f"export version_number = {VERSION}, float32",
        )
    yield from _memory(values.get("memory_size"), outputs, inputs)
    yield from _sizes(values, outputs, inputs)


def _memory(memory: np.ndarray | None, outputs: dict[str, Value], inputs: dict[str, Value]) -> Iterator[Finding]:
    """A recurrent network says how much it remembers, and has where that comes in and goes out."""
    if memory is not None and memory.size and memory.reshape(-1)[0] > 0:
        missing = [name for name, there in (("recurrent_in", inputs), ("recurrent_out", outputs)) if name not in there]
        if missing:
            yield error(
                "memory",
                f"memory_size is {_text(memory)}, and there is no {quote_all(missing)}",
                "ML-Agents reports the recurrent tensors missing",
                "export memory_size = 0",
            )


def _sizes(values: dict, outputs: dict[str, Value], inputs: dict[str, Value]) -> Iterator[Finding]:
    """The sizes that the file says, against the tensors that it has."""
    for name, tensor, told in (
        ("continuous_action_output_shape", outputs.get("continuous_actions"), lambda v: v.reshape(-1)[0]),
        ("discrete_action_output_shape", outputs.get("discrete_actions"), lambda v: v.size),
        ("discrete_action_output_shape", inputs.get("action_masks"), lambda v: v.sum()),
    ):
        value = values.get(name)
        width = tensor.shape[-1] if tensor is not None and tensor.shape else None
        if value is not None and value.size and isinstance(width, int) and told(value) != width:
            assert tensor is not None
            yield error(
                "sizes",
                f"{name} is {_text(value)}, and {quote(tensor.name)} has {width} columns",
                "ML-Agents compares it with the Behavior Parameters and reads past the end, or too little",
                "export the sizes that the network has: one number for each discrete branch",
            )


def _sensors(inputs: dict[str, Value]) -> Iterator[Finding]:
    """Sensors count from zero without a gap."""
    numbers = sorted(name[4:] for name in inputs if name.startswith("obs_"))
    if numbers and numbers != sorted(str(index) for index in range(len(numbers))):
        yield error(
            "sensors",
            f"observations {quote_all(f'obs_{number}' for number in numbers)}",
            f"ML-Agents feeds obs_0 to obs_{len(numbers) - 1}, one for each sensor, and misses the others",
            "count them from zero, without gaps or leading zeros",
        )


def _constant(graph: Graph, name: str) -> np.ndarray | None:
    """The numbers of an output that comes from a stored tensor."""
    stored = constants(graph)
    source = _source(name, stored, _makers(graph))
    return None if source is None else stored[source].values


def _makers(graph: Graph) -> dict[str, Node]:
    return {name: node for node in graph.nodes for name in node.outputs}


def _source(name: str, stored: dict[str, Tensor], makers: dict[str, Node]) -> str | None:
    """The stored tensor that a value is, perhaps behind Identity operations."""
    for _ in range(MAX_CHAIN):
        if name in stored:
            return name
        node = makers.get(name)
        if node is None or node.operator not in ("Identity", "Cast") or not node.inputs:
            return None
        name = node.inputs[0]
    return None


def _text(value: np.ndarray) -> str:
    return ", ".join(f"{number:g}" for number in value.reshape(-1)[:8].tolist())
