"""Reads .proto files into descriptors, with the comments that stand above each thing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.rpc import status_pb2
from grpc_tools import protoc

FOREIGN = {
    "google/protobuf/any.proto": ("Any",),
    "google/protobuf/duration.proto": ("Duration",),
    "google/protobuf/empty.proto": ("Empty",),
    "google/protobuf/field_mask.proto": ("FieldMask",),
    "google/protobuf/timestamp.proto": ("Timestamp",),
    "google/rpc/status.proto": ("Status",),
    "google/rpc/error_details.proto": ("ErrorInfo",),
}
"""Google's files, and which messages of each the wire uses."""

PathInFile = tuple[int, ...]


class Source(NamedTuple):
    """One .proto file: what it holds, and its comments by the path of what they stand above."""

    file: FileDescriptorProto
    messages: tuple[DescriptorProto, ...]
    comments: dict[PathInFile, str]

    @property
    def foreign(self) -> bool:
        """Whether the file is Google's."""
        return self.file.name in FOREIGN


def load(folder: Path) -> list[Source]:
    """Our .proto files below `folder`, and Google's that they use."""
    names = [path.relative_to(folder).as_posix() for path in sorted((folder / "npcmeta" / "v1").glob("*.proto"))]
    files = {file.name: file for file in describe(folder, [*names, *FOREIGN]).file}
    return [_source(files[name]) for name in [*names, *FOREIGN]]


def describe(folder: Path, names: list[str]) -> FileDescriptorSet:
    """Runs protoc over the named files.

    Raises:
        SystemExit: If protoc finds a fault in them; it has said which.
    """
    google = Path(protoc.__file__).parent / "_proto"
    packages = Path(status_pb2.__file__).parents[2]
    with tempfile.TemporaryDirectory() as made:
        result = Path(made) / "set"
        options = ["--include_imports", "--include_source_info", f"--descriptor_set_out={result}"]
        if protoc.main(["protoc", f"-I{folder}", f"-I{google}", f"-I{packages}", *options, *names]):
            raise SystemExit("protoc refused the .proto files; its message is above")
        return FileDescriptorSet.FromString(result.read_bytes())


def _source(file: FileDescriptorProto) -> Source:
    wanted = FOREIGN.get(file.name)
    messages = tuple(message for message in file.message_type if wanted is None or message.name in wanted)
    locations = [] if wanted else file.source_code_info.location
    comments = {tuple(place.path): place.leading_comments for place in locations if place.leading_comments.strip()}
    return Source(file, messages, comments)
