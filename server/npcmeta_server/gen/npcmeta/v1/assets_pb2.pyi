from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FetchAssetRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class FetchAssetResponse(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: AssetHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[AssetHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class AssetHeader(_message.Message):
    __slots__ = ("name", "size_bytes", "sha256", "file_name", "archetype_revision", "npc_revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    ARCHETYPE_REVISION_FIELD_NUMBER: _ClassVar[int]
    NPC_REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    sha256: str
    file_name: str
    archetype_revision: str
    npc_revision: int
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., file_name: _Optional[str] = ..., archetype_revision: _Optional[str] = ..., npc_revision: _Optional[int] = ...) -> None: ...
