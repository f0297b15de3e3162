from google.rpc import status_pb2 as _status_pb2
from . import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ActRequest(_message.Message):
    __slots__ = ("cast", "tick")
    CAST_FIELD_NUMBER: _ClassVar[int]
    TICK_FIELD_NUMBER: _ClassVar[int]
    cast: Cast
    tick: Tick
    def __init__(self, cast: _Optional[_Union[Cast, _Mapping]] = ..., tick: _Optional[_Union[Tick, _Mapping]] = ...) -> None: ...

class ActResponse(_message.Message):
    __slots__ = ("cast", "tick")
    CAST_FIELD_NUMBER: _ClassVar[int]
    TICK_FIELD_NUMBER: _ClassVar[int]
    cast: CastResult
    tick: TickResult
    def __init__(self, cast: _Optional[_Union[CastResult, _Mapping]] = ..., tick: _Optional[_Union[TickResult, _Mapping]] = ...) -> None: ...

class Cast(_message.Message):
    __slots__ = ("groups", "removals")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    REMOVALS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[Group]
    removals: _containers.RepeatedCompositeFieldContainer[Removal]
    def __init__(self, groups: _Optional[_Iterable[_Union[Group, _Mapping]]] = ..., removals: _Optional[_Iterable[_Union[Removal, _Mapping]]] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("group", "archetype", "members", "sampled")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ARCHETYPE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    group: int
    archetype: str
    members: _containers.RepeatedCompositeFieldContainer[Member]
    sampled: bool
    def __init__(self, group: _Optional[int] = ..., archetype: _Optional[str] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., sampled: _Optional[bool] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("index", "npc")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NPC_FIELD_NUMBER: _ClassVar[int]
    index: int
    npc: str
    def __init__(self, index: _Optional[int] = ..., npc: _Optional[str] = ...) -> None: ...

class Removal(_message.Message):
    __slots__ = ("group", "indices")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    group: int
    indices: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, group: _Optional[int] = ..., indices: _Optional[_Iterable[int]] = ...) -> None: ...

class CastResult(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[GroupResult]
    def __init__(self, groups: _Optional[_Iterable[_Union[GroupResult, _Mapping]]] = ...) -> None: ...

class GroupResult(_message.Message):
    __slots__ = ("group", "archetype", "archetype_revision", "indices", "refused", "status")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ARCHETYPE_FIELD_NUMBER: _ClassVar[int]
    ARCHETYPE_REVISION_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    group: int
    archetype: str
    archetype_revision: str
    indices: _containers.RepeatedScalarFieldContainer[int]
    refused: _containers.RepeatedCompositeFieldContainer[RefusedMember]
    status: _status_pb2.Status
    def __init__(self, group: _Optional[int] = ..., archetype: _Optional[str] = ..., archetype_revision: _Optional[str] = ..., indices: _Optional[_Iterable[int]] = ..., refused: _Optional[_Iterable[_Union[RefusedMember, _Mapping]]] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class RefusedMember(_message.Message):
    __slots__ = ("index", "npc", "status")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NPC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    index: int
    npc: str
    status: _status_pb2.Status
    def __init__(self, index: _Optional[int] = ..., npc: _Optional[str] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Tick(_message.Message):
    __slots__ = ("number", "parts")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    number: int
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    def __init__(self, number: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("group", "indices", "observations", "action_mask")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    ACTION_MASK_FIELD_NUMBER: _ClassVar[int]
    group: int
    indices: _containers.RepeatedScalarFieldContainer[int]
    observations: _tensor_pb2.Tensor
    action_mask: _tensor_pb2.Tensor
    def __init__(self, group: _Optional[int] = ..., indices: _Optional[_Iterable[int]] = ..., observations: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., action_mask: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class TickResult(_message.Message):
    __slots__ = ("number", "parts")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    number: int
    parts: _containers.RepeatedCompositeFieldContainer[PartResult]
    def __init__(self, number: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[PartResult, _Mapping]]] = ...) -> None: ...

class PartResult(_message.Message):
    __slots__ = ("group", "indices", "continuous_actions", "discrete_actions", "revisions", "status")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    CONTINUOUS_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    DISCRETE_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    group: int
    indices: _containers.RepeatedScalarFieldContainer[int]
    continuous_actions: _tensor_pb2.Tensor
    discrete_actions: _tensor_pb2.Tensor
    revisions: _containers.RepeatedScalarFieldContainer[int]
    status: _status_pb2.Status
    def __init__(self, group: _Optional[int] = ..., indices: _Optional[_Iterable[int]] = ..., continuous_actions: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., discrete_actions: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., revisions: _Optional[_Iterable[int]] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class ActOnceRequest(_message.Message):
    __slots__ = ("archetype", "npcs", "observations", "action_mask", "sampled", "number")
    ARCHETYPE_FIELD_NUMBER: _ClassVar[int]
    NPCS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    ACTION_MASK_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    archetype: str
    npcs: _containers.RepeatedScalarFieldContainer[str]
    observations: _tensor_pb2.Tensor
    action_mask: _tensor_pb2.Tensor
    sampled: bool
    number: int
    def __init__(self, archetype: _Optional[str] = ..., npcs: _Optional[_Iterable[str]] = ..., observations: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., action_mask: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., sampled: _Optional[bool] = ..., number: _Optional[int] = ...) -> None: ...

class ActOnceResponse(_message.Message):
    __slots__ = ("continuous_actions", "discrete_actions", "revisions", "archetype_revision")
    CONTINUOUS_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    DISCRETE_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    ARCHETYPE_REVISION_FIELD_NUMBER: _ClassVar[int]
    continuous_actions: _tensor_pb2.Tensor
    discrete_actions: _tensor_pb2.Tensor
    revisions: _containers.RepeatedScalarFieldContainer[int]
    archetype_revision: str
    def __init__(self, continuous_actions: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., discrete_actions: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., revisions: _Optional[_Iterable[int]] = ..., archetype_revision: _Optional[str] = ...) -> None: ...
