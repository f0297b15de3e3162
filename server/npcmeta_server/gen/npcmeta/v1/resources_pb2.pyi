import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ActionSpec(_message.Message):
    __slots__ = ("continuous_size", "branch_sizes")
    CONTINUOUS_SIZE_FIELD_NUMBER: _ClassVar[int]
    BRANCH_SIZES_FIELD_NUMBER: _ClassVar[int]
    continuous_size: int
    branch_sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, continuous_size: _Optional[int] = ..., branch_sizes: _Optional[_Iterable[int]] = ...) -> None: ...

class BehaviorSpec(_message.Message):
    __slots__ = ("observation_size", "action", "tick_rate_hz")
    OBSERVATION_SIZE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    TICK_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    observation_size: int
    action: ActionSpec
    tick_rate_hz: float
    def __init__(self, observation_size: _Optional[int] = ..., action: _Optional[_Union[ActionSpec, _Mapping]] = ..., tick_rate_hz: _Optional[float] = ...) -> None: ...

class Archetype(_message.Message):
    __slots__ = ("name", "revision", "learner", "family", "spec", "state_bytes", "revisions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LEARNER_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    learner: str
    family: str
    spec: BehaviorSpec
    state_bytes: int
    revisions: _containers.RepeatedCompositeFieldContainer[ArchetypeRevision]
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., learner: _Optional[str] = ..., family: _Optional[str] = ..., spec: _Optional[_Union[BehaviorSpec, _Mapping]] = ..., state_bytes: _Optional[int] = ..., revisions: _Optional[_Iterable[_Union[ArchetypeRevision, _Mapping]]] = ...) -> None: ...

class ArchetypeRevision(_message.Message):
    __slots__ = ("revision", "current", "active", "npcs", "create_time")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    NPCS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    revision: str
    current: bool
    active: bool
    npcs: int
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, revision: _Optional[str] = ..., current: _Optional[bool] = ..., active: _Optional[bool] = ..., npcs: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Npc(_message.Message):
    __slots__ = ("name", "archetype", "display_name", "seed", "revision", "examples", "create_time", "update_time", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARCHETYPE_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    archetype: str
    display_name: str
    seed: int
    revision: str
    examples: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, name: _Optional[str] = ..., archetype: _Optional[str] = ..., display_name: _Optional[str] = ..., seed: _Optional[int] = ..., revision: _Optional[str] = ..., examples: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class Demonstration(_message.Message):
    __slots__ = ("name", "examples", "create_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    examples: int
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., examples: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Revision(_message.Message):
    __slots__ = ("name", "number", "archetype", "archetype_revision", "examples", "support_nll", "create_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ARCHETYPE_FIELD_NUMBER: _ClassVar[int]
    ARCHETYPE_REVISION_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_NLL_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    number: int
    archetype: str
    archetype_revision: str
    examples: int
    support_nll: float
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., number: _Optional[int] = ..., archetype: _Optional[str] = ..., archetype_revision: _Optional[str] = ..., examples: _Optional[int] = ..., support_nll: _Optional[float] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
