import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UpgradeState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPGRADE_STATE_UNSPECIFIED: _ClassVar[UpgradeState]
    UPGRADE_RUNNING: _ClassVar[UpgradeState]
    UPGRADE_DONE: _ClassVar[UpgradeState]
    UPGRADE_CANCELLED: _ClassVar[UpgradeState]
UPGRADE_STATE_UNSPECIFIED: UpgradeState
UPGRADE_RUNNING: UpgradeState
UPGRADE_DONE: UpgradeState
UPGRADE_CANCELLED: UpgradeState

class UpgradeNpcsRequest(_message.Message):
    __slots__ = ("archetype", "revision", "npcs", "tolerance", "unchecked", "request_id")
    ARCHETYPE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    NPCS_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    UNCHECKED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    archetype: str
    revision: str
    npcs: _containers.RepeatedScalarFieldContainer[str]
    tolerance: float
    unchecked: bool
    request_id: str
    def __init__(self, archetype: _Optional[str] = ..., revision: _Optional[str] = ..., npcs: _Optional[_Iterable[str]] = ..., tolerance: _Optional[float] = ..., unchecked: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class Upgrade(_message.Message):
    __slots__ = ("name", "revision", "state", "npcs", "moved", "kept", "failed", "tolerance", "unchecked", "create_time", "end_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NPCS_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    UNCHECKED_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    state: UpgradeState
    npcs: int
    moved: int
    kept: int
    failed: int
    tolerance: float
    unchecked: bool
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., state: _Optional[_Union[UpgradeState, str]] = ..., npcs: _Optional[int] = ..., moved: _Optional[int] = ..., kept: _Optional[int] = ..., failed: _Optional[int] = ..., tolerance: _Optional[float] = ..., unchecked: _Optional[bool] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetUpgradeRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListUpgradesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListUpgradesResponse(_message.Message):
    __slots__ = ("upgrades", "next_page_token")
    UPGRADES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    upgrades: _containers.RepeatedCompositeFieldContainer[Upgrade]
    next_page_token: str
    def __init__(self, upgrades: _Optional[_Iterable[_Union[Upgrade, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelUpgradeRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListUpgradeOutcomesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListUpgradeOutcomesResponse(_message.Message):
    __slots__ = ("outcomes", "next_page_token")
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[UpgradeOutcome]
    next_page_token: str
    def __init__(self, outcomes: _Optional[_Iterable[_Union[UpgradeOutcome, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpgradeOutcome(_message.Message):
    __slots__ = ("npc", "failed", "reason", "nll_before", "nll_after")
    NPC_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NLL_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NLL_AFTER_FIELD_NUMBER: _ClassVar[int]
    npc: str
    failed: bool
    reason: str
    nll_before: float
    nll_after: float
    def __init__(self, npc: _Optional[str] = ..., failed: _Optional[bool] = ..., reason: _Optional[str] = ..., nll_before: _Optional[float] = ..., nll_after: _Optional[float] = ...) -> None: ...
