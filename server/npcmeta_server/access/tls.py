"""TLS for both ports: a certificate, its key, and for mutual TLS whose clients' certificates are trusted.

Files are read again when they change, so that a certificate is renewed without a restart.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from npcmeta_server.access.watched import stamp

log = logging.getLogger(__name__)


class TlsFiles(NamedTuple):
    """PEM files."""

    certificate: Path  # with the chain behind it
    key: Path
    client_ca: Path | None = None  # if given, clients have to show a certificate that it signed


def check_exposure(host: str, encrypted: bool, tokens: bool, insecure: bool) -> None:
    """Raises ValueError if other machines could reach a server that does not know who they are."""
    if insecure or is_loopback(host) or (encrypted and tokens):
        return
    missing = [] if encrypted else ["--tls-certificate with --tls-key"]
    missing += [] if tokens else ["--tokens (npcmeta token new makes one)"]
    raise ValueError(
        f"--host {host} can be reached from other machines, expected {' and '.join(missing)}; if something in front of "
        "the server does that, say --insecure"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def grpc_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials of the gRPC port, which follow the files; raises ValueError if they are no certificate and key."""
    watch = _Watch(files)
    _context(files)  # gRPC itself accepts anything as a certificate, and then no client

    def renewed() -> Any:
        if not watch.changed():
            return None  # as it was
        try:
            _context(files)
            return _configuration(files)
        except (OSError, ValueError) as error:
            log.error("the certificate stays as it was: %s", error)
            return None

    return grpc.dynamic_ssl_server_credentials(_configuration(files), renewed, files.client_ca is not None)


def http_context(files: TlsFiles) -> ssl.SSLContext:
    """The context of the HTTP port, which follows the files; raises ValueError as `grpc_credentials` does."""
    watch = _Watch(files)
    first = newest = _context(files)

    def before_each(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        nonlocal newest
        if watch.changed():
            try:
                newest = _context(files)
            except (OSError, ValueError) as error:
                log.error("the certificate stays as it was: %s", error)
        connection.context = newest

    first.sni_callback = before_each  # called for clients that name no server as well
    return first


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(
            f"{files.certificate} and {files.key} are no certificate and its key, in PEM, without a password: {error}"
        ) from error
    if files.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"{files.client_ca} is no PEM file of certificates: {error}") from error
    return context


def _no_password() -> str:
    """Instead of asking whoever started the server on its terminal."""
    return ""


def _configuration(files: TlsFiles) -> Any:
    pair = (files.key.read_bytes(), files.certificate.read_bytes())
    return grpc.ssl_server_certificate_configuration([pair], files.client_ca.read_bytes() if files.client_ca else None)


class _Watch:
    """Whether some files are other than when they were last asked about."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = [file for file in files if file is not None]
        self._seen = self._stamps()

    def changed(self) -> bool:
        before, self._seen = self._seen, self._stamps()
        return self._seen != before

    def _stamps(self) -> list[tuple[int, ...]]:
        return [stamp(file) for file in self._files]
