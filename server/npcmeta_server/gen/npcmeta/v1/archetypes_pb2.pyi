from google.protobuf import empty_pb2 as _empty_pb2
from . import resources_pb2 as _resources_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListArchetypesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListArchetypesResponse(_message.Message):
    __slots__ = ("archetypes", "next_page_token")
    ARCHETYPES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    archetypes: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Archetype]
    next_page_token: str
    def __init__(self, archetypes: _Optional[_Iterable[_Union[_resources_pb2.Archetype, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetArchetypeRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UploadArchetypeRequest(_message.Message):
    __slots__ = ("setup", "chunk")
    SETUP_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    setup: UploadSetup
    chunk: bytes
    def __init__(self, setup: _Optional[_Union[UploadSetup, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadSetup(_message.Message):
    __slots__ = ("archetype", "current", "request_id")
    ARCHETYPE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    archetype: str
    current: bool
    request_id: str
    def __init__(self, archetype: _Optional[str] = ..., current: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class UploadArchetypeOnceRequest(_message.Message):
    __slots__ = ("setup", "data")
    SETUP_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    setup: UploadSetup
    data: bytes
    def __init__(self, setup: _Optional[_Union[UploadSetup, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class RetireArchetypeRequest(_message.Message):
    __slots__ = ("name", "revision", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...
