"""Logs: lines for people or for programs, each with the id of the request that it belongs to."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, get_args

from npcmeta_server.access.gate import current

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]
FORMAT_VARIABLE, LEVEL_VARIABLE = "NPCMETA_LOG_FORMAT", "NPCMETA_LOG_LEVEL"
FACTS = ("request_id", "token", "method", "reason", "peer", "seconds")
"""What a line may say beside its message."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What a name from elsewhere could begin a line with, or do to a terminal."""


def configure(style: Format, level: Level) -> None:
    """Sends all that is logged to standard error, here and in processes that this one starts."""
    os.environ[FORMAT_VARIABLE], os.environ[LEVEL_VARIABLE] = style, level
    handler = logging.StreamHandler()
    handler.setFormatter(Lines() if style == "json" else Text())
    handler.addFilter(_of_call)
    others = "info" if level == "debug" else level  # nobody wants to know what libraries debug
    logging.basicConfig(level=others.upper(), handlers=[handler], force=True)
    logging.getLogger("npcmeta_server").setLevel(level.upper())


def configure_as_told(environment: Mapping[str, str] = os.environ) -> None:
    """The same in a process that was started by one which called `configure`."""
    style, level = environment.get(FORMAT_VARIABLE), environment.get(LEVEL_VARIABLE)
    known = style in get_args(Format) and level in get_args(Level)
    configure(style if known else "text", level if known else "info")  # type: ignore[arg-type]


class Text(logging.Formatter):
    """A line for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, with the request's id behind it if it belongs to one."""
        request_id = getattr(record, "request_id", "")
        line = CONTROL.sub(lambda found: repr(found[0])[1:-1], super().formatMessage(record))
        return line + (f" [request {request_id}]" if request_id else "")


class Lines(logging.Formatter):
    """A JSON object in a line, whatever is logged."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's time, level, name and message, what is known beside them, and the traceback if there is one."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        entry |= {key: value for key in FACTS if (value := getattr(record, key, ""))}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _of_call(record: logging.LogRecord) -> bool:
    """Adds what is known of the call that the running task works for."""
    if (call := current.get()) is not None:
        record.request_id = getattr(record, "request_id", call.request_id)
        record.token = getattr(record, "token", call.token)
    return True
