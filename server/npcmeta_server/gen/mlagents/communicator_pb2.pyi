from npcmeta.recordings.gen.mlagents_demo import demo_pb2 as _demo_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UnityMessage(_message.Message):
    __slots__ = ("header", "unity_output", "unity_input")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    UNITY_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    UNITY_INPUT_FIELD_NUMBER: _ClassVar[int]
    header: Header
    unity_output: UnityOutput
    unity_input: UnityInput
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., unity_output: _Optional[_Union[UnityOutput, _Mapping]] = ..., unity_input: _Optional[_Union[UnityInput, _Mapping]] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("status", "message")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    status: int
    message: str
    def __init__(self, status: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class UnityOutput(_message.Message):
    __slots__ = ("rl_output", "rl_initialization_output")
    RL_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    RL_INITIALIZATION_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    rl_output: RlOutput
    rl_initialization_output: RlInitializationOutput
    def __init__(self, rl_output: _Optional[_Union[RlOutput, _Mapping]] = ..., rl_initialization_output: _Optional[_Union[RlInitializationOutput, _Mapping]] = ...) -> None: ...

class RlOutput(_message.Message):
    __slots__ = ("agent_infos", "side_channel")
    class AgentInfos(_message.Message):
        __slots__ = ("value",)
        VALUE_FIELD_NUMBER: _ClassVar[int]
        value: _containers.RepeatedCompositeFieldContainer[_demo_pb2.AgentInfo]
        def __init__(self, value: _Optional[_Iterable[_Union[_demo_pb2.AgentInfo, _Mapping]]] = ...) -> None: ...
    class AgentInfosEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: RlOutput.AgentInfos
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[RlOutput.AgentInfos, _Mapping]] = ...) -> None: ...
    AGENT_INFOS_FIELD_NUMBER: _ClassVar[int]
    SIDE_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    agent_infos: _containers.MessageMap[str, RlOutput.AgentInfos]
    side_channel: bytes
    def __init__(self, agent_infos: _Optional[_Mapping[str, RlOutput.AgentInfos]] = ..., side_channel: _Optional[bytes] = ...) -> None: ...

class RlInitializationOutput(_message.Message):
    __slots__ = ("name", "communication_version", "brain_parameters", "package_version", "capabilities")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMUNICATION_VERSION_FIELD_NUMBER: _ClassVar[int]
    BRAIN_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    name: str
    communication_version: str
    brain_parameters: _containers.RepeatedCompositeFieldContainer[_demo_pb2.BrainParameters]
    package_version: str
    capabilities: Capabilities
    def __init__(self, name: _Optional[str] = ..., communication_version: _Optional[str] = ..., brain_parameters: _Optional[_Iterable[_Union[_demo_pb2.BrainParameters, _Mapping]]] = ..., package_version: _Optional[str] = ..., capabilities: _Optional[_Union[Capabilities, _Mapping]] = ...) -> None: ...

class UnityInput(_message.Message):
    __slots__ = ("rl_input", "rl_initialization_input")
    RL_INPUT_FIELD_NUMBER: _ClassVar[int]
    RL_INITIALIZATION_INPUT_FIELD_NUMBER: _ClassVar[int]
    rl_input: RlInput
    rl_initialization_input: RlInitializationInput
    def __init__(self, rl_input: _Optional[_Union[RlInput, _Mapping]] = ..., rl_initialization_input: _Optional[_Union[RlInitializationInput, _Mapping]] = ...) -> None: ...

class RlInput(_message.Message):
    __slots__ = ("agent_actions", "command", "side_channel")
    class Command(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STEP: _ClassVar[RlInput.Command]
        RESET: _ClassVar[RlInput.Command]
        QUIT: _ClassVar[RlInput.Command]
    STEP: RlInput.Command
    RESET: RlInput.Command
    QUIT: RlInput.Command
    class AgentActions(_message.Message):
        __slots__ = ("value",)
        VALUE_FIELD_NUMBER: _ClassVar[int]
        value: _containers.RepeatedCompositeFieldContainer[_demo_pb2.AgentAction]
        def __init__(self, value: _Optional[_Iterable[_Union[_demo_pb2.AgentAction, _Mapping]]] = ...) -> None: ...
    class AgentActionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: RlInput.AgentActions
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[RlInput.AgentActions, _Mapping]] = ...) -> None: ...
    AGENT_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    SIDE_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    agent_actions: _containers.MessageMap[str, RlInput.AgentActions]
    command: RlInput.Command
    side_channel: bytes
    def __init__(self, agent_actions: _Optional[_Mapping[str, RlInput.AgentActions]] = ..., command: _Optional[_Union[RlInput.Command, str]] = ..., side_channel: _Optional[bytes] = ...) -> None: ...

class RlInitializationInput(_message.Message):
    __slots__ = ("seed", "communication_version", "package_version", "capabilities", "num_areas")
    SEED_FIELD_NUMBER: _ClassVar[int]
    COMMUNICATION_VERSION_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    NUM_AREAS_FIELD_NUMBER: _ClassVar[int]
    seed: int
    communication_version: str
    package_version: str
    capabilities: Capabilities
    num_areas: int
    def __init__(self, seed: _Optional[int] = ..., communication_version: _Optional[str] = ..., package_version: _Optional[str] = ..., capabilities: _Optional[_Union[Capabilities, _Mapping]] = ..., num_areas: _Optional[int] = ...) -> None: ...

class Capabilities(_message.Message):
    __slots__ = ("base_rl", "concatenated_png_observations", "compressed_channel_mapping", "hybrid_actions", "training_analytics", "variable_length_observation", "multi_agent_groups")
    BASE_RL_FIELD_NUMBER: _ClassVar[int]
    CONCATENATED_PNG_OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSED_CHANNEL_MAPPING_FIELD_NUMBER: _ClassVar[int]
    HYBRID_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ANALYTICS_FIELD_NUMBER: _ClassVar[int]
    VARIABLE_LENGTH_OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    MULTI_AGENT_GROUPS_FIELD_NUMBER: _ClassVar[int]
    base_rl: bool
    concatenated_png_observations: bool
    compressed_channel_mapping: bool
    hybrid_actions: bool
    training_analytics: bool
    variable_length_observation: bool
    multi_agent_groups: bool
    def __init__(self, base_rl: _Optional[bool] = ..., concatenated_png_observations: _Optional[bool] = ..., compressed_channel_mapping: _Optional[bool] = ..., hybrid_actions: _Optional[bool] = ..., training_analytics: _Optional[bool] = ..., variable_length_observation: _Optional[bool] = ..., multi_agent_groups: _Optional[bool] = ...) -> None: ...
