"""How commands call a running server: over its HTTP port, with a token where it asks for one."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union

import tyro
from connectrpc.errors import ConnectError
from connectrpc.interceptor import MetadataInterceptorSync
from connectrpc.request import RequestContext
from pyqwest import SyncClient, SyncHTTPTransport

from npcmeta_server.cli.unreached import why
from npcmeta_server.gen.npcmeta.v1.adapt_connect import AdaptServiceClientSync
from npcmeta_server.gen.npcmeta.v1.archetypes_connect import ArchetypeServiceClientSync
from npcmeta_server.gen.npcmeta.v1.assets_connect import AssetServiceClientSync
from npcmeta_server.gen.npcmeta.v1.npcs_connect import NpcServiceClientSync
from npcmeta_server.gen.npcmeta.v1.upgrades_connect import UpgradeServiceClientSync

TIMEOUT_MILLISECONDS = 120_000
TOKEN_VARIABLE = "NPCMETA_TOKEN"


class Services(NamedTuple):
    """The services of a server."""

    npcs: NpcServiceClientSync
    adapting: AdaptServiceClientSync
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
    client_certificate: Path | None = None
    """PEM file of a certificate to show, where the server is started with --tls-client-ca."""
    client_key: Path | None = None
    """PEM file of its key."""

    @contextlib.contextmanager
    def services(self) -> Iterator[Services]:
        """Its services, until the end.

        Raises:
            ValueError: If there is no server, or it refuses a call; the message says why.
        """
        self.check()
        options: dict[str, Any] = {"timeout_ms": TIMEOUT_MILLISECONDS, "interceptors": (_Bearer(self.token()),)}
        try:
            with self._transport() as transport:
                options["http_client"] = SyncClient(transport)
                yield Services(
                    NpcServiceClientSync(self.server, **options),
                    AdaptServiceClientSync(self.server, **options),
                    AssetServiceClientSync(self.server, **options),
                    ArchetypeServiceClientSync(self.server, **options),
                    UpgradeServiceClientSync(self.server, **options),
                )
        except ConnectError as error:
            hint = f"; put a token into {TOKEN_VARIABLE}" if error.code.value == "unauthenticated" else ""
            said = error.message if error.__cause__ is None else why(self.server, error.message)
            raise ValueError(f"{self.server}: {said}{hint}") from error

    def check(self) -> None:
        """Raises ValueError if the options do not go together."""
        if not self.server.startswith(("http://", "https://")):
            raise ValueError(f"--server is {self.server}, expected http://HOST:PORT or https://HOST:PORT")
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("a certificate to show takes both --client-certificate and --client-key")
        self.context()

    def token(self) -> str:
        """The token to send; empty if there is none."""
        return self.token_file.read_text("utf-8").strip() if self.token_file else os.environ.get(TOKEN_VARIABLE, "")

    def context(self) -> ssl.SSLContext | None:
        """How Python's own client speaks TLS, if it is to; raises ValueError if a file is not what it has to be."""
        if not self.server.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:  # the library's own names no file
            raise ValueError(f"--ca {self.ca} is no PEM file of certificates: {error}") from error
        if self.client_certificate is not None:
            try:
                context.load_cert_chain(self.client_certificate, self.client_key, password=str)  # asks nobody
            except OSError as error:
                raise ValueError(
                    f"--client-certificate {self.client_certificate} and --client-key {self.client_key} are no "
                    f"certificate and its key, in PEM, without a password: {error}"
                ) from error
        return context

    def _transport(self) -> SyncHTTPTransport:
        ca, certificate, key = (
            path.read_bytes() if path else None for path in (self.ca, self.client_certificate, self.client_key)
        )
        return SyncHTTPTransport(tls_ca_cert=ca, tls_include_system_certs=ca is None, tls_cert=certificate, tls_key=key)


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
