"""`npcmeta token new`: who may call a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from npcmeta_server.access import tokens


def token(
    action: Annotated[Literal["new"], tyro.conf.Positional],
    name: Annotated[str, tyro.conf.Positional],
    role: Literal["act", "adapt", "admin"] = "act",
    tokens_file: Annotated[Path, tyro.conf.arg(name="tokens")] = Path("tokens.toml"),
    calls: int = 0,
    messages_per_second: int = 0,
    bytes_per_second: int = 0,
) -> None:
    """Make a token: it is printed once, and the server's file gets a digest of it.

    Args:
        action: What to do: new.
        name: Of whom it is for. To take a token back, delete its lines from the file; a running server notices.
        role: act plays; adapt also makes and teaches NPCs; admin also deletes.
        tokens_file: The file that npcmeta serve is given, which is made if there is none.
        calls: Calls and streams at a time; 0 for no limit, as below.
        messages_per_second: Messages of all its calls together.
        bytes_per_second: Bytes of all its messages together.
    """
    quotas = {"calls": calls, "messages_per_second": messages_per_second, "bytes_per_second": bytes_per_second}
    known = tokens.read(tokens_file) if tokens_file.exists() else {}
    if name in known:
        raise ValueError(f"{tokens_file} has a token {name}; choose another name, or delete its lines")
    text, lines = tokens.new(name, role, quotas)
    descriptor = os.open(tokens_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(lines if file.tell() == 0 else f"\n{lines}")
    said = f"{tokens_file} knows it by a digest alone: this is the only time that it is shown"
    Console(stderr=True).print(said, markup=False)
    print(text)
