"""The C# client against answers of every kind: each fault has its code and says what was wrong, and nothing hangs."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest

from tests.unity import faulty_server
from tests.unity.conftest import Compile, Run

pytestmark = pytest.mark.xdist_group("unity")
FAILURE = ["InvalidArgument", faulty_server.MESSAGE, "INVALID_TENSOR", "expected=32"]
EXPECTED: dict[str, list[str]] = {
    "good": ["OK", "archetypes/guard"],
    "good-chunked": ["OK", "archetypes/guard"],
    "error-in-headers": FAILURE,
    "error-in-trailers": FAILURE,
    "error-after-answer": FAILURE,
    "error-with-bad-details": ["NotFound", "gone"],
    "error-with-garbled-details": ["NotFound", "100%zz"],
    "status-unknown": ["Unknown", "no message was given"],
    "no-status": ["Unavailable", "ended without saying how the call went"],
    "nothing": ["Unavailable", "ended without saying how the call went"],
    "no-archetypes": ["OK", ""],
    "pages": ["OK", "archetypes/0 archetypes/1 archetypes/2"],
    "endless-pages": ["Internal", "a page names itself as the next one"],
    "no-answer": ["Internal", "neither an answer nor an error came"],
    "two-answers": ["Internal", "more than one answer came"],
    "more-after-trailers": ["Internal", "something follows the end"],
    "cut-in-head": ["Unavailable", "cut off in the middle of a message"],
    "cut-in-message": ["Unavailable", "cut off in the middle of a message"],
    "too-long": ["ResourceExhausted", "a message of 4294967295 bytes came, at most 4000 are accepted"],
    "trailers-too-long": ["ResourceExhausted", "a message of 2147483647 bytes came"],
    "compressed": ["Internal", "the answer is compressed"],
    "nonsense": ["Internal", "the answer is no ListArchetypesResponse: not a message: 127 bytes are announced"],
    "unavailable": ["Unavailable", 'answered HTTP 503 with "text/plain"'],
    "not-found": ["Unimplemented", 'answered HTTP 404 with "text/plain"'],
    "elsewhere": ["Unknown", "answered HTTP 302"],
    "website": ["Unknown", 'answered HTTP 200 with "text/html", expected gRPC-Web'],
    "not-http": ["Unavailable", "no answer from http://127.0.0.1"],
    "hung-up": ["Unavailable", "no answer from http://127.0.0.1"],
    "asset-good": ["OK", "bob.onnx"],
    "asset-wrong-digest": ["DataLoss", f"expected 2700 bytes with digest {'0' * 64}"],
    "asset-short": ["DataLoss", "2699 bytes with digest"],
    "asset-endless": ["DataLoss", "more than the announced 2700 bytes came"],
    "asset-leading-out": ["DataLoss", 'the server names the file "../bob.onnx"'],
    "asset-hidden": ["DataLoss", 'the server names the file ".bob"'],
    "asset-headless": ["DataLoss", "the asset begins without its header"],
    "asset-empty": ["DataLoss", "no asset came"],
    "stalls-slow": ["DeadlineExceeded", "did not answer within 0.5 seconds"],
    "dribbles-slow": ["DeadlineExceeded", "did not answer within 0.5 seconds"],
    "begins-slow": ["DeadlineExceeded", "did not answer within 0.5 seconds"],
    "never-ends-slow": ["DeadlineExceeded", "did not answer within 0.5 seconds"],
    "cancelled-slow": ["taken back", ""],
}


@pytest.fixture(scope="module")
def program(compile_program: Compile) -> Path:
    return compile_program("client_check", Path(__file__).with_name("ClientCheck.cs"))


def test_every_fault_of_a_server_has_its_error(program: Path, run_program: Run, tmp_path: Path) -> None:
    assert set(EXPECTED) == {*faulty_server.ANSWERS, *faulty_server.PLAYED}
    with faulty_server.running() as server:
        done = run_program(program, server, tmp_path / "assets", *EXPECTED)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = {line.split("\t")[0]: line.split("\t")[1:] for line in done.stdout.splitlines()}
    for place, expected in EXPECTED.items():
        found = outcomes[place]
        assert all(part in whole for part, whole in zip(expected, found, strict=False)), (place, found)


def test_an_asset_that_failed_leaves_nothing_behind(program: Path, run_program: Run, tmp_path: Path) -> None:
    places = [place for place in EXPECTED if place.startswith("asset-") and place != "asset-good"]
    with faulty_server.running() as server:
        run_program(program, server, tmp_path / "bad", *places)
        run_program(program, server, tmp_path / "good", "asset-good", "asset-good")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["bob.onnx"]
    found = (tmp_path / "good" / "bob.onnx").read_bytes()
    assert hashlib.sha256(found).digest() == hashlib.sha256(faulty_server.FILE).digest()


def test_nobody_at_the_address_is_said_so(program: Path, run_program: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        done = run_program(program, f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path, "good")
    assert done.stdout.startswith("good\tUnavailable\tno answer from http://127.0.0.1:")
