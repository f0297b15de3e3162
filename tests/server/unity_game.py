"""The part of a Unity game that speaks with a trainer, message by message as ML-Agents does, in Python.

Messages are made from the field numbers of com.unity.ml-agents, not from our .proto files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from npcmeta.types import ActionSpec

MESSAGES = """
UnityMessage: 1 Header header, 2 UnityOutput unity_output, 3 UnityInput unity_input
Header: 1 int32 status, 2 string message
UnityOutput: 1 RlOutput rl_output, 2 InitOutput rl_initialization_output
UnityInput: 1 RlInput rl_input, 2 InitInput rl_initialization_input
RlOutput: 2 map InfoEntry infos, 3 bytes side_channel
InfoEntry: 1 string key, 2 InfoList value
InfoList: 1 repeated AgentInfo value
InitOutput: 1 string name, 2 string communication, 5 repeated Brain brains, 7 string package_version, 8 Caps caps
InitInput: 1 int32 seed, 2 string communication, 3 string package_version, 4 Caps caps, 5 int32 num_areas
Caps: 1 bool base, 2 bool png, 3 bool mapping, 4 bool hybrid, 5 bool analytics, 6 bool variable, 7 bool groups
RlInput: 1 map ActionEntry actions, 4 int32 command, 5 bytes side_channel
ActionEntry: 1 string key, 2 ActionList value
ActionList: 1 repeated AgentAction value
AgentAction: 1 repeated float old, 4 float value, 6 repeated float continuous, 7 repeated int32 discrete
AgentInfo: 7 float reward, 8 bool done, 9 bool max_step, 10 int32 id, 11 repeated bool mask, 13 repeated Sensor seen
Sensor: 1 repeated int32 shape, 2 int32 compression, 3 bytes compressed, 4 Floats floats, 8 string name
Floats: 1 repeated float data
Brain: 3 repeated int32 old_sizes, 6 int32 old_type, 7 string name, 8 bool training, 9 ActionSpec spec
ActionSpec: 1 int32 continuous, 2 int32 discrete, 3 repeated int32 sizes
"""
STEP, RESET = 0, 1
RULES = {"repeated": 3, "map": 3}


def build() -> dict[str, Any]:
    """Message classes by name, in a pool of their own."""
    file = descriptor_pb2.FileDescriptorProto(name="unity.proto", package="unity", syntax="proto3")
    for line in MESSAGES.strip().splitlines():
        name, fields = line.split(": ")
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            number, *rule, kind, label = field.split()
            made = message.field.add(name=label, number=int(number), label=RULES[rule[0]] if rule else 1)
            scalar = getattr(made, f"TYPE_{kind.upper()}", None)
            if scalar is None:
                made.type, made.type_name = made.TYPE_MESSAGE, f".unity.{kind}"
            else:
                made.type = scalar
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"unity.{n}")) for n in names}


UNITY = build()


class Agent(NamedTuple):
    """What one agent sends."""

    id: int
    sensors: Sequence[np.ndarray]
    done: bool = False
    masked: Sequence[bool] = ()  # as Unity has it: True = may not


class Done(NamedTuple):
    """What one agent is told to do."""

    continuous: list[float]
    discrete: list[int]
    old: list[float]


class UnityGame:
    """A client of the communicator, which keeps what Unity's own keeps."""

    def __init__(self, port: str, *, communication: str = "1.5.0", package: str = "3.0.0") -> None:
        self.channel = grpc.insecure_channel(f"localhost:{port}")
        message = UNITY["UnityMessage"]
        self._exchange = self.channel.unary_unary(
            "/communicator_objects.UnityToExternalProto/Exchange", message.SerializeToString, message.FromString
        )
        self._known: set[str] = set()
        output = UNITY["UnityOutput"]()
        said = output.rl_initialization_output
        said.name, said.communication, said.package_version = "AcademySingleton", communication, package
        said.caps.base = said.caps.hybrid = True
        self.began = self._say(output).rl_initialization_input
        self.first_command = self._say(None).rl_input.command

    def step(self, brains: dict[str, ActionSpec], frame: dict[str, Sequence[Any]]) -> dict[str, dict[int, Done]]:
        """Sends what all agents saw; returns, by behaviour and agent, what those that are not done are to do.

        Agents are Agents, or messages of Unity's.
        """
        output = UNITY["UnityOutput"]()
        output.rl_output.side_channel = b""
        for name, agents in frame.items():
            entry = output.rl_output.infos.add(key=name)
            entry.value.value.extend(_info(agent) for agent in agents)
            if agents and name not in self._known:
                output.rl_initialization_output.brains.append(_brain(name, brains[name]))
                self._known.add(name)
        answer = self._say(output).rl_input
        assert answer.command == STEP
        found: dict[str, dict[int, Done]] = {}
        for entry in answer.actions:
            waiting = [agent.id for agent in frame[entry.key] if not agent.done]
            assert len(waiting) == len(entry.value.value) > 0
            found[entry.key] = {
                agent: Done(list(action.continuous), list(action.discrete), list(action.old))
                for agent, action in zip(waiting, entry.value.value, strict=True)
            }
        return found

    def close(self) -> None:
        self._exchange(UNITY["UnityMessage"](header=UNITY["Header"](status=400)))
        self.channel.close()

    def _say(self, output: Any) -> Any:
        answer = self._exchange(UNITY["UnityMessage"](header=UNITY["Header"](status=200), unity_output=output))
        assert answer.header.status == 200
        return answer.unity_input


def _info(agent: Any) -> Any:
    if not isinstance(agent, Agent):
        return agent
    info = UNITY["AgentInfo"](id=agent.id, done=agent.done, reward=0.5, mask=agent.masked)
    for index, values in enumerate(agent.sensors):
        info.seen.add(shape=values.shape, floats=UNITY["Floats"](data=values.ravel()), name=f"sensor{index}")
    return info


def _brain(name: str, spec: ActionSpec) -> Any:
    sizes = UNITY["ActionSpec"](
        continuous=spec.continuous_size, discrete=len(spec.branch_sizes), sizes=spec.branch_sizes
    )
    return UNITY["Brain"](name=name, training=True, spec=sizes)
