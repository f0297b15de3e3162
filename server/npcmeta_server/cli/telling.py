"""How commands that call a running server say what it answered."""

from __future__ import annotations

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDE = 10_000
"""Columns that a table may take in a file or a pipe."""


def say(text: str) -> None:
    """A line for people, which scripts can read as well: nothing is wrapped or coloured."""
    Console(highlight=False).print(escape(text), soft_wrap=True)


def plain(text: str) -> str:
    """Text that somebody else wrote, for a table: nothing in it colours the terminal or steers it."""
    return escape("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text))


def show(table: Table, kept: int = 1) -> None:
    """A table whose first columns, names that somebody types, are never cut; whole where no terminal shows it."""
    for column in table.columns[:kept]:
        column.no_wrap = True
    console = Console()
    needed = console.measure(table, options=console.options.update_width(WIDE)).minimum
    console.width = max(console.width, needed) if console.is_terminal else WIDE
    console.print(table)


def line(message: Message) -> str:
    """A message in one line of JSON."""
    return MessageToJson(message, indent=None, always_print_fields_with_no_presence=True)


def when(time: Timestamp) -> str:
    """A time as tables show it, to the second."""
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
