"""A server with mutual TLS and tokens, and all that it logs."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from npcmeta_server.access import tokens
from npcmeta_server.access.tls import TlsFiles
from npcmeta_server.serving import Settings
from tests.server.in_thread import served
from tests.server.secured import PAGE, Secured, write_certificate


@pytest.fixture(scope="module")
def log() -> Iterator[list[str]]:
    """All that is logged while the server runs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(logging.Formatter().format(record))  # type: ignore[method-assign]
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="module")
def secured(archetype_folder: Path, tmp_path_factory: pytest.TempPathFactory, log: list[str]) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    files = TlsFiles(folder / "server.pem", folder / "server.key", folder / "ca.pem")
    write_certificate(authority, files)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    quotas: dict[str, dict[str, int]] = {"narrow": {"calls": 1}, "slow": {"messages_per_second": 2}}
    made = {n: tokens.new(n, "act", quotas.get(n, {})) for n in ("game", "narrow", "slow")}
    made["tool"] = tokens.new("tool", "adapt", {})
    made["owner"] = tokens.new("owner", "admin", {})
    (folder / "tokens.toml").write_text("\n".join(lines for _, lines in made.values()))
    settings = Settings(
        archetype_folder, f"sqlite:///{folder / 'npcs.db'}", "127.0.0.1", 0, 0, max_message_bytes=1 << 20,
        tls=files, tokens=folder / "tokens.toml", origins=(PAGE,),
    )  # fmt: skip
    with served(settings) as server:
        port = server.grpc.rpartition(":")[2]
        texts = {name: text for name, (text, _) in made.items()}
        yield Secured(
            f"localhost:{port}", server.http.replace("127.0.0.1", "localhost"), texts, authority,
            authority.issue_cert("client.example"), files,
        )  # fmt: skip
    assert not [line for line in log for text in texts.values() if text.partition(".")[2] in line]
