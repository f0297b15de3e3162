"""Quotas and places: what one token may use, and what all may use together."""

import contextlib
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from npcmeta_server.access.gate import Gate
from npcmeta_server.access.quotas import Bucket, Meter
from npcmeta_server.access.tokens import TokenFile
from npcmeta_server.errors import ServiceError
from tests.server.access.test_tokens import Clock, write

ACT = "/npcmeta.v1.ActService/Act"


def reason(error: pytest.ExceptionInfo[ServiceError]) -> str:
    return error.value.reason


def gate_of(path: Path, max_calls: int = 10, **quotas: int) -> tuple[Gate, dict[str, str]]:
    given = write(path / "tokens.toml", "game", "other", **quotas)
    headers = {name: f"Bearer {text}" for name, text in given.items()}
    return Gate(TokenFile(path / "tokens.toml"), max_calls), headers


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50)), max_size=60))
def test_a_bucket_gives_what_a_second_brings_and_no_more(steps: list[tuple[float, int]]) -> None:
    clock, rate, given_away = Clock(), 20, 0
    bucket = Bucket(rate, clock)
    for pause, amount in steps:
        clock.now += pause
        wait = bucket.take(amount)
        if wait:
            clock.now += wait + 1e-6
            assert not bucket.take(amount)
        given_away += amount
    largest = max((amount for _, amount in steps), default=0)
    assert given_away <= rate * (clock.now + 1) + largest + 1e-6


def test_a_token_that_sends_too_much_hears_when_to_come_again(tmp_path: Path) -> None:
    write(tmp_path / "tokens.toml", "game", messages_per_second=3, bytes_per_second=100)
    clock = Clock()
    [token] = TokenFile(tmp_path / "tokens.toml")._tokens.values()
    meter = Meter(token, clock)
    for _ in range(3):
        meter.message(1)
    with pytest.raises(ServiceError, match="more than 3 messages in a second; try again in") as caught:
        meter.message(1)
    assert caught.value.metadata["quota"] == "messages_per_second"
    clock.now += float(caught.value.metadata["retry_seconds"]) + 1e-3
    meter.message(1000)  # larger than what a second brings: goes through once
    clock.now += 1
    with pytest.raises(ServiceError, match="more than 100 bytes"):
        meter.message(1)


def test_calls_of_a_token_are_counted_over_all_that_use_it_and_given_back(tmp_path: Path) -> None:
    gate, headers = gate_of(tmp_path, calls=1)
    mine = {"authorization": headers["game"]}
    with gate.admit(ACT, mine):
        with pytest.raises(ServiceError) as caught, gate.admit(ACT, mine):
            pass
        assert reason(caught) == "QUOTA_EXCEEDED"
        with gate.admit(ACT, {"authorization": headers["other"]}):
            assert gate.calls == 2
    with gate.admit(ACT, mine):
        assert gate.calls == 1
    assert gate.calls == 0


def test_a_full_server_says_so_and_forgets_nobody() -> None:
    gate = Gate(None, 1)
    with pytest.raises(KeyError), gate.admit(ACT, {}):
        raise KeyError
    with gate.admit(ACT, {}), pytest.raises(ServiceError) as caught, gate.admit(ACT, {}):
        pass
    assert reason(caught) == "TOO_MANY_CALLS"
    assert gate.calls == 0


def test_who_has_no_token_is_told_what_to_send(tmp_path: Path) -> None:
    gate, headers = gate_of(tmp_path)
    for wrong in ({}, {"authorization": "Basic Zm9v"}, {"authorization": "Bearer"}):
        with pytest.raises(ServiceError, match='expected a header "authorization: Bearer TOKEN"') as caught:
            gate.admit(ACT, wrong)
        assert reason(caught) == "INVALID_TOKEN"
    with pytest.raises(ServiceError, match="is not known") as caught:
        gate.admit(ACT, {"authorization": headers["game"][:-1]})
    assert headers["game"][10:-1] not in str(caught.value)
    with pytest.raises(ServiceError, match=r"has the role act, .*DeleteNpc needs admin") as caught:
        gate.admit("/npcmeta.v1.NpcService/DeleteNpc", {"authorization": headers["game"]})
    assert reason(caught) == "ROLE_NEEDED"
    assert gate.admit("/grpc.health.v1.Health/Watch", {}).token == ""


def test_a_request_id_is_the_clients_if_it_is_fit_for_a_log(tmp_path: Path) -> None:
    gate = Gate(None, 1)
    assert gate.admit(ACT, {"x-request-id": "frame-7.a"}).request_id == "frame-7.a"
    made = {gate.admit(ACT, {"x-request-id": bad}).request_id for bad in ("", "a b", "x" * 65, "a\nERROR forged")}
    assert len(made) == 4
    assert all(len(each) == 16 for each in made)


def ended(path: str, reason: str) -> float:
    return REGISTRY.get_sample_value("npcmeta_calls_total", {"method": path, "reason": reason}) or 0.0


@pytest.mark.parametrize("refusal", ["INVALID_TOKEN", "ROLE_NEEDED", "QUOTA_EXCEEDED", "TOO_MANY_CALLS"])
def test_a_call_that_is_refused_is_counted_and_logged_once_with_its_id(
    refusal: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate, headers = gate_of(tmp_path, 2, calls=1)
    path = "/npcmeta.v1.NpcService/DeleteNpc" if refusal == "ROLE_NEEDED" else ACT
    token = {"INVALID_TOKEN": "Bearer x.y", "TOO_MANY_CALLS": headers["other"]}.get(refusal, headers["game"])
    before = ended(path, refusal)
    with contextlib.ExitStack() as busy, caplog.at_level(logging.INFO):
        if refusal in ("QUOTA_EXCEEDED", "TOO_MANY_CALLS"):
            busy.enter_context(gate.admit(ACT, {"authorization": headers["game"]}))
        if refusal == "TOO_MANY_CALLS":
            busy.enter_context(gate.admit("/grpc.health.v1.Health/Watch", {}))
        with pytest.raises(ServiceError) as caught, gate.admit(path, {"authorization": token, "x-request-id": "i-7"}):
            pass
    assert reason(caught) == refusal
    assert ended(path, refusal) == before + 1
    [line] = [each for each in caplog.records if each.levelno == logging.INFO]
    known = "" if refusal == "INVALID_TOKEN" else token.removeprefix("Bearer ").partition(".")[0]
    assert [getattr(line, fact) for fact in ("request_id", "method", "reason", "token")] == [
        "i-7",
        path,
        refusal,
        known,
    ]
