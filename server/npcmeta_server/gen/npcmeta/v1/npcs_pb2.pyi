from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from . import resources_pb2 as _resources_pb2
from . import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateNpcRequest(_message.Message):
    __slots__ = ("npc_id", "npc", "request_id")
    NPC_ID_FIELD_NUMBER: _ClassVar[int]
    NPC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    npc_id: str
    npc: _resources_pb2.Npc
    request_id: str
    def __init__(self, npc_id: _Optional[str] = ..., npc: _Optional[_Union[_resources_pb2.Npc, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CloneNpcRequest(_message.Message):
    __slots__ = ("source", "npc_id", "npc", "request_id")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    NPC_ID_FIELD_NUMBER: _ClassVar[int]
    NPC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    source: str
    npc_id: str
    npc: _resources_pb2.Npc
    request_id: str
    def __init__(self, source: _Optional[str] = ..., npc_id: _Optional[str] = ..., npc: _Optional[_Union[_resources_pb2.Npc, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ImportNpcRequest(_message.Message):
    __slots__ = ("npc_id", "file", "request_id")
    NPC_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    npc_id: str
    file: bytes
    request_id: str
    def __init__(self, npc_id: _Optional[str] = ..., file: _Optional[bytes] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetNpcRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListNpcsRequest(_message.Message):
    __slots__ = ("archetype", "page_size", "page_token", "text", "min_examples")
    ARCHETYPE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MIN_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    archetype: str
    page_size: int
    page_token: str
    text: str
    min_examples: int
    def __init__(self, archetype: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., text: _Optional[str] = ..., min_examples: _Optional[int] = ...) -> None: ...

class ListNpcsResponse(_message.Message):
    __slots__ = ("npcs", "next_page_token")
    NPCS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    npcs: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Npc]
    next_page_token: str
    def __init__(self, npcs: _Optional[_Iterable[_Union[_resources_pb2.Npc, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateNpcRequest(_message.Message):
    __slots__ = ("npc", "update_mask", "etag", "request_id")
    NPC_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    npc: _resources_pb2.Npc
    update_mask: _field_mask_pb2.FieldMask
    etag: str
    request_id: str
    def __init__(self, npc: _Optional[_Union[_resources_pb2.Npc, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteNpcRequest(_message.Message):
    __slots__ = ("name", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateDemonstrationRequest(_message.Message):
    __slots__ = ("parent", "examples", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    examples: _tensor_pb2.Examples
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., examples: _Optional[_Union[_tensor_pb2.Examples, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ListDemonstrationsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDemonstrationsResponse(_message.Message):
    __slots__ = ("demonstrations", "next_page_token")
    DEMONSTRATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    demonstrations: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Demonstration]
    next_page_token: str
    def __init__(self, demonstrations: _Optional[_Iterable[_Union[_resources_pb2.Demonstration, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteDemonstrationRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ListRevisionsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRevisionsResponse(_message.Message):
    __slots__ = ("revisions", "next_page_token")
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    revisions: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Revision]
    next_page_token: str
    def __init__(self, revisions: _Optional[_Iterable[_Union[_resources_pb2.Revision, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetRevisionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RollbackNpcRequest(_message.Message):
    __slots__ = ("name", "revision", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...
