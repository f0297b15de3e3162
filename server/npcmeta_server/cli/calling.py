"""How commands call a running server: over its HTTP port, with a token where it asks for one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union

import tyro
from connectrpc.errors import ConnectError
from connectrpc.interceptor import MetadataInterceptorSync
from connectrpc.request import RequestContext
from pyqwest import SyncClient, SyncHTTPTransport

from npcmeta_server.cli.top import TOKEN_VARIABLE
from npcmeta_server.gen.npcmeta.v1.archetypes_connect import ArchetypeServiceClientSync
from npcmeta_server.gen.npcmeta.v1.assets_connect import AssetServiceClientSync
from npcmeta_server.gen.npcmeta.v1.npcs_connect import NpcServiceClientSync
from npcmeta_server.gen.npcmeta.v1.upgrades_connect import UpgradeServiceClientSync

TIMEOUT_MILLISECONDS = 120_000


class Services(NamedTuple):
    """The services of a server."""

    npcs: NpcServiceClientSync
    assets: AssetServiceClientSync
    archetypes: ArchetypeServiceClientSync
    upgrades: UpgradeServiceClientSync


class _Bearer(MetadataInterceptorSync[None]):
    """Sends a token with every call, if there is one."""

    def __init__(self, token: str) -> None:
        self._token = token

    def on_start_sync(self, ctx: RequestContext[Any, Any], /) -> None:
        if self._token:
            ctx.request_headers["authorization"] = f"Bearer {self._token}"


@dataclass(frozen=True)
class Connection:
    """How a running server is reached."""

    server: str = "http://127.0.0.1:8080"
    """Its HTTP port."""
    token_file: Path | None = None
    """A file that holds a token and nothing else; or put it into NPCMETA_TOKEN."""
    ca: Path | None = None
    """PEM file of the authority that signed the server's certificate."""

    @contextlib.contextmanager
    def services(self) -> Iterator[Services]:
        """Its services, until the end.

        Raises:
            ValueError: If there is no server, or it refuses a call; the message says why.
        """
        if not self.server.startswith(("http://", "https://")):
            raise ValueError(f"--server is {self.server}, expected http://HOST:PORT or https://HOST:PORT")
        token = self.token_file.read_text("utf-8").strip() if self.token_file else os.environ.get(TOKEN_VARIABLE, "")
        certificates = self.ca.read_bytes() if self.ca else None
        transport = SyncHTTPTransport(tls_ca_cert=certificates, tls_include_system_certs=certificates is None)
        options: dict[str, Any] = {"timeout_ms": TIMEOUT_MILLISECONDS, "interceptors": (_Bearer(token),)}
        try:
            with transport:
                options["http_client"] = SyncClient(transport)
                yield Services(
                    NpcServiceClientSync(self.server, **options),
                    AssetServiceClientSync(self.server, **options),
                    ArchetypeServiceClientSync(self.server, **options),
                    UpgradeServiceClientSync(self.server, **options),
                )
        except ConnectError as error:
            hint = f"; put a token into {TOKEN_VARIABLE}" if error.code.value == "unauthenticated" else ""
            raise ValueError(f"{self.server}: {error.message}{hint}") from error


Reached = tyro.conf.OmitArgPrefixes[Connection]
"""The options that say how, as an argument of an action."""
Name = Annotated[str, tyro.conf.Positional]
"""What an action is about."""


def full_name(collection: str, name: str) -> str:
    """The resource name of what was typed with or without its collection."""
    return name if "/" in name else f"{collection}/{name}"


def one_of(actions: Mapping[str, Callable[..., None]]) -> Any:
    """A command that is one of some actions, with its own options."""
    return Union[  # noqa: UP007 - of what is known only when it runs
        tuple(Annotated[Any, tyro.conf.subcommand(name, constructor=action)] for name, action in actions.items())
    ]
