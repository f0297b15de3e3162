"""Log lines for people and for programs."""

import contextvars
import json
import logging

import pytest

from npcmeta_server import logs
from npcmeta_server.access.gate import Gate, current


@pytest.mark.usefixtures("configured")
def test_a_line_of_json_says_which_request_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "debug")
    log = logging.getLogger("npcmeta_server.test")

    def answer() -> None:
        with Gate(None, 2).admit("/x.Y/Z", {"x-request-id": "frame-7"}):
            log.info('said "this"\nand that')
            try:
                raise KeyError("lost")
            except KeyError:
                log.exception("failed")

    mark = current.set(None)  # whatever other tests did
    contextvars.copy_context().run(answer)
    log.warning("alone")
    current.reset(mark)
    said, failed, ended, alone = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (said["message"], said["level"], said["request_id"]) == ('said "this"\nand that', "INFO", "frame-7")
    assert said["time"].endswith("+00:00")
    assert "KeyError: 'lost'" in failed["traceback"]
    assert (ended["method"], ended["request_id"], ended["level"]) == ("/x.Y/Z", "frame-7", "DEBUG")
    assert "request_id" not in alone


@pytest.mark.usefixtures("configured")
def test_what_is_started_logs_in_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "warning")
    logs.configure_as_told()
    logging.getLogger("x").info("not this")
    logging.getLogger("x").warning("this")
    assert json.loads(capsys.readouterr().err)["message"] == "this"
    logs.configure_as_told({})
    logging.getLogger("x").info("a line for people")
    assert " INFO x a line for people" in capsys.readouterr().err


@pytest.mark.usefixtures("configured")
def test_at_the_level_of_debugging_libraries_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "debug")
    for name in ("npcmeta_server.ports", "urllib3.connectionpool"):
        logging.getLogger(name).debug("every call")
    [line] = capsys.readouterr().err.splitlines()
    assert "npcmeta_server.ports every call" in line


@pytest.mark.usefixtures("configured")
def test_a_name_from_elsewhere_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "info")
    mark = current.set(None)  # whatever other tests did
    logging.getLogger("x").warning("a game: %s", "guard\n2026-01-01 ERROR forged\x1b[2J")
    current.reset(mark)
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(r"a game: guard\n2026-01-01 ERROR forged\x1b[2J")
