"""The C# messages against Python's protobuf: what one writes the other reads, and nonsense is refused by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError, Message

from npcmeta_server.gen.npcmeta.v1 import tensor_pb2
from tests.unity.conftest import Compile, Run
from tests.unity.wire_messages import KINDS, Answer, Record, random_message, read_answers, write_records

pytestmark = pytest.mark.xdist_group("unity")
TENSOR, STATUS = "Npcmeta.V1.Tensor", "Npcmeta.WellKnown.Status"
Check = Callable[[list[Record]], list[Answer]]


@pytest.fixture(scope="module")
def check(compile_program: Compile, run_program: Run, tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Lets C# read records and write them again."""
    program = compile_program("wire_check", Path(__file__).with_name("WireCheck.cs"))
    folder = tmp_path_factory.mktemp("records")

    def checked(records: list[Record]) -> list[Answer]:
        write_records(folder / "in", records)
        done = run_program(program, folder / "in", folder / "out")
        assert done.returncode == 0, done.stdout + done.stderr
        answers = read_answers(folder / "out")
        assert len(answers) == len(records)
        return answers

    return checked


def parsed(record: Record) -> Message | None:
    try:
        return KINDS[record[0]].FromString(record[1])
    except DecodeError:
        return None


def same(one: Message | None, other: Message | None) -> bool:
    """Equal to the bit, NaN included; what neither side knows does not count."""
    for message in (one, other):
        if message is not None:
            message.DiscardUnknownFields()
    return one is None if other is None else one is not None and _bytes(one) == _bytes(other)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def test_messages_of_every_kind_come_back_equal(check: Check) -> None:
    chance = random.Random(1)
    records = [(name, _bytes(random_message(kind, chance))) for name, kind in KINDS.items() for _ in range(8)]
    for record, (accepted, answer) in zip(records, check(records), strict=True):
        assert accepted, (record[0], answer)
        assert len(answer) <= len(record[1]), f"{record[0]} is not written in its shortest form"
        assert same(parsed((record[0], answer)), parsed(record)), record[0]


def test_the_second_half_of_a_message_is_merged_into_the_first(check: Check) -> None:
    chance = random.Random(2)
    records = [
        (name, _bytes(random_message(kind, chance)) + _bytes(random_message(kind, chance)))
        for name, kind in KINDS.items()
        for _ in range(4)
    ]
    for record, (accepted, answer) in zip(records, check(records), strict=True):
        assert accepted, (record[0], answer)
        assert same(parsed((record[0], answer)), parsed(record)), record[0]


def test_lists_of_numbers_are_read_packed_and_one_by_one_and_unknown_fields_are_passed_over(check: Check) -> None:
    unknown = (
        b"\xf8\x07\x01" + b"\xfa\x07\x02hi" + b"\xf9\x07" + b"8" * 8 + b"\xfd\x07four" + b"\xfb\x07\x08\x01\xfc\x07"
    )
    [(accepted, answer)] = check([(TENSOR, unknown + b"\x10\x05" + b"\x12\x02\x06\x07" + b"\x10\x08" + unknown)])
    assert accepted, answer
    assert answer == tensor_pb2.Tensor(shape=[5, 6, 7, 8]).SerializeToString()


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (TENSOR, b"\x08", "end in the middle of a field"),
        (TENSOR, b"\x1a\x05abcd", "5 bytes are announced, 4 are left"),
        (TENSOR, b"\x1a\xff\xff\xff\xff\x0f", "4294967295 bytes are announced, 0 are left"),
        (TENSOR, b"\x1a" + b"\xff" * 9 + b"\x01", "18446744073709551615 bytes are announced"),
        (TENSOR, b"\x12\x01\x80", "end in the middle of a field"),
        (TENSOR, b"\x08" + b"\x80" * 10 + b"\x01", "a number is longer than ten bytes"),
        (TENSOR, b"\x00\x00", "field number 0 is out of range"),
        (TENSOR, b"\xf9\x07four", "end in the middle of a field"),
        (TENSOR, b"\x0c", "wire type 4 of field 1 has no place here"),
        (TENSOR, b"\x0f", "wire type 7 of field 1 has no place here"),
        (TENSOR, b"\xfb\x07\x08\x01", "group 127 has no end"),
        (TENSOR, b"\xfb\x07" * 5_000, "nested more than 100 deep"),
        (STATUS, b"\x12\x02\xc3\x28", "a text is not UTF-8"),
        (STATUS, b"\x1a\x00" * 1_000_001, "more than 1000000 messages"),
    ],
)
def test_what_is_no_message_is_refused_by_name(check: Check, kind: str, data: bytes, message: str) -> None:
    [(accepted, answer)] = check([(kind, data)])
    assert not accepted
    assert message in answer.decode()


def test_mutated_messages_are_read_as_python_reads_them_or_refused(check: Check) -> None:
    chance = random.Random(3)
    whole = [(name, _bytes(random_message(kind, chance))) for name, kind in KINDS.items() for _ in range(8)]
    records = [(name, mutated(data, chance)) for name, data in whole * 20 if len(data) < 3000]
    refused = 0
    for record, (accepted, answer) in zip(records, check(records), strict=True):
        expected = parsed(record)
        refused += not accepted
        stricter = b"field number" in answer  # Python lets unknown fields of number 0 through
        looser = "ErrorInfo" in record[0]  # Python leaves out a map's entries that hold unknown fields
        assert accepted == (expected is not None) or (stricter and not accepted), (record, answer)
        assert not accepted or looser or same(parsed((record[0], answer)), expected), record
    assert len(records) > 4_000
    assert 0.1 < refused / len(records) < 0.9


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Cut off, or with some bytes changed, taken out or put in."""
    if chance.random() < 0.2:
        return data[: chance.randrange(len(data) + 1)]
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        new = chance.choice((bytes([chance.randrange(256)]), b"\xff" * 4, b"", b"\x80", chance.randbytes(3)))
        changed[at : at + chance.randint(0, 2)] = new
    return bytes(changed)
