"""Commands that call a server, where it is not or wants something else: they say what to do."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from npcmeta_server.access.tls import TlsFiles
from npcmeta_server.cli import main, unreached
from npcmeta_server.demo.host import Address
from npcmeta_server.serving import Settings
from tests.server.in_thread import served

OPERATING = Path(__file__).parents[3] / "docs" / "operating.md"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands in the documentation make."""
    tool = shutil.which("openssl")
    if tool is None or b"OpenSSL 3" not in subprocess.run([tool, "version"], capture_output=True).stdout:
        pytest.skip("OpenSSL 3 is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    text = OPERATING.read_text("utf-8").replace("\\\n", " ")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("openssl ")]
    assert len(commands) == 5
    for command in commands:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def mutual(archetype_folder: Path, certificates: Path) -> Iterator[Address]:
    yield from serve(archetype_folder, certificates, "server", "ca.pem")


@pytest.fixture(scope="module")
def misled(archetype_folder: Path, certificates: Path) -> Iterator[Address]:
    """Its certificate is the authority's own."""
    yield from serve(archetype_folder, certificates, "ca", "")


@pytest.fixture(scope="module")
def misnamed(archetype_folder: Path, certificates: Path) -> Iterator[Address]:
    yield from serve(archetype_folder, certificates, "studio", "")


def serve(archetypes: Path, certificates: Path, name: str, client_ca: str) -> Iterator[Address]:
    files = TlsFiles(
        certificates / f"{name}.pem", certificates / f"{name}.key", certificates / client_ca if client_ca else None
    )
    store = f"sqlite:///{certificates / name}.db"
    with served(Settings(archetypes, store, "127.0.0.1", 0, 0, tls=files)) as address:
        yield address


def shown(folder: Path, *options: str) -> list[str]:
    """The options of files in a folder."""
    names = {"ca": "ca.pem", "client-certificate": "studio.pem", "client-key": "studio.key"}
    return [text for option in options for text in (f"--{option}", str(folder / names[option]))]


COMMANDS: tuple[Sequence[str], ...] = (("npc", "list"), ("archetype", "list"), ("top", "--once"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_wants_certificates_is_reached_with_one(
    command: Sequence[str], mutual: Address, certificates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = shown(certificates, "ca", "client-certificate", "client-key")
    assert main([*command, "--server", mutual.http, *known]) == 0
    for options, message in (
        (shown(certificates, "ca"), "wants --client-certificate and --client-key"),
        (shown(certificates, "ca", "client-key"), "takes both --client-certificate and --client-key"),
        ([], "give its authority's with --ca"),
    ):
        assert main([*command, "--server", mutual.http, *options]) == 1
        assert message in capsys.readouterr().err
    assert main([*command, "--server", mutual.http.replace("https:", "http:")]) == 1
    assert "a server with TLS is reached by https://" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_wrong_port_or_scheme_is_said_plainly(
    command: Sequence[str], server: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--server", f"http://{server.grpc}"]) == 1
    assert "that looks like the gRPC port" in capsys.readouterr().err
    assert main([*command, "--server", server.http.replace("http:", "https:")]) == 1
    assert "speaks no TLS; use http://" in capsys.readouterr().err


def test_a_certificate_of_an_authority_or_for_other_names_is_refused_with_what_to_do(
    misled: Address, misnamed: Address, certificates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ca = shown(certificates, "ca")
    assert main(["npc", "list", "--server", misled.http, *ca]) == 1
    assert "the server's certificate is an authority's" in capsys.readouterr().err
    assert main(["npc", "list", "--server", misnamed.http, *ca]) == 1
    assert "is for other names" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_files_that_are_no_certificates_are_named(
    command: Sequence[str], certificates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, missing = certificates / "studio.pem", certificates / "missing.pem"
    for options, message in (
        (("--ca", missing), f"--ca {missing} is no PEM file of certificates"),
        (("--ca", certificates / "studio.key"), "studio.key is no PEM file of certificates"),
        (("--client-certificate", there, "--client-key", certificates / "server.key"), "server.key are no certificate"),
        (("--client-certificate", there, "--client-key", missing), f"{missing} are no certificate and its key"),
    ):
        assert main([*command, "--server", "https://localhost:1", *map(str, options)]) == 1
        assert message in capsys.readouterr().err


def test_a_server_that_is_gone_before_its_reason_is_read_may_want_a_certificate() -> None:
    said = "client error (SendRequest): connection error: Connection reset by peer (os error 104)"
    assert "--client-certificate" in unreached.why("https://game.example:8080", said)
