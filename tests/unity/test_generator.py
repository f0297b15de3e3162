"""What the C# generator makes of fields that the wire does not have yet, and what it says of those it cannot make."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from tests.unity.conftest import ROOT, Compile, Run
from tests.unity.wire_messages import random_message, read_answers, write_records

pytestmark = pytest.mark.xdist_group("unity")
EVERYTHING = """
syntax = "proto3";
package npcmeta.v1;
enum MoodOfDay { MOOD_OF_DAY_UNSPECIFIED = 0; CALM = 1; MOOD_OF_DAY_WILD_ONE = 4; }
message Everything {
  float speed = 1;
  optional int32 rank = 2;
  optional string title = 3;
  optional MoodOfDay mood = 4;
  optional bool awake = 5;
  oneof choice {
    double weight = 6;
    bool heavy = 7;
    MoodOfDay turn = 8;
    bytes raw = 9;
    Everything inner = 10;
    uint64 count = 11;
  }
  repeated float speeds = 12;
  repeated double weights = 13;
  repeated bool flags = 14;
  repeated MoodOfDay moods = 300;
  repeated string names = 301;
  repeated bytes blobs = 302;
  map<string, int64> sizes = 303;
  repeated uint32 indices = 304 [packed = false];
  Everything everything = 400;
}
"""


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import csharp.files
    import csharp.sources

    return csharp


def described(generator: ModuleType, folder: Path, text: str) -> FileDescriptorProto:
    (folder / "everything.proto").write_text(text)
    return generator.sources.describe(folder, ["everything.proto"]).file[0]


def made(generator: ModuleType, file: FileDescriptorProto) -> str:
    return generator.files.csharp_file(generator.sources.Source(file, tuple(file.message_type), {}))


def test_fields_of_every_form_come_back_equal(
    generator: ModuleType, compile_program: Compile, run_program: Run, tmp_path: Path
) -> None:
    file = described(generator, tmp_path, EVERYTHING)
    source = tmp_path / "Everything.cs"
    source.write_text(made(generator, file))
    assert "WildOne = 4," in source.read_text()
    program = compile_program("everything", source, Path(__file__).with_name("WireCheck.cs"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("npcmeta.v1.Everything"))

    chance = random.Random(1)
    wanted = [random_message(kind, chance, depth=2) for _ in range(60)]
    write_records(tmp_path / "in", [("Npcmeta.V1.Everything", message.SerializeToString()) for message in wanted])
    done = run_program(program, tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for message, (accepted, answer) in zip(wanted, read_answers(tmp_path / "out"), strict=True):
        assert accepted, answer
        assert kind.FromString(answer) == message


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("message Npc { sint32 level = 1; }", "field level is a sint32, which is not generated"),
        ("message Npc { message Mood {} Mood mood = 1; }", "Npc holds the types Mood; move them out of it"),
        ("message Npc { enum Mood { CALM = 0; } Mood mood = 1; }", "Npc holds the types Mood; move them out of it"),
        ("message Npc { strin name = 1; }", "protoc refused the .proto files"),
    ],
)
def test_what_is_not_generated_is_said(generator: ModuleType, tmp_path: Path, body: str, complaint: str) -> None:
    with pytest.raises(SystemExit, match=complaint):
        made(generator, described(generator, tmp_path, f'syntax = "proto3"; package npcmeta.v1; {body}'))
