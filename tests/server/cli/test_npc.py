"""`npcmeta npc` against a running server: what it says is what is there."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trustme

from npcmeta.archetype import Archetype
from npcmeta_server.access import tokens
from npcmeta_server.access.tls import TlsFiles
from npcmeta_server.cli import main
from npcmeta_server.demo.host import Address
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2
from npcmeta_server.serving import Settings
from tests.server.client import Client, array, clip
from tests.server.in_thread import served
from tests.server.secured import write_certificate

Run = Callable[..., str]


@pytest.fixture
def run(server: Address, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs an action that has to succeed; returns what it printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def act(*arguments: object) -> str:
        status = main(["npc", *map(str, arguments), "--server", server.http])
        said = capsys.readouterr()
        assert (status, said.err) == (0, "")
        return said.out

    return act


def test_an_npc_is_made_shown_cloned_and_deleted(run: Run, client: Client) -> None:
    assert "created npcs/cli-bob of archetypes/guard: revision 1, 0 examples, seed 5" in run(
        "create", "guard", "--npc-id", "cli-bob", "--display-name", "Bob [bold]", "--seed", 5
    )
    assert client.get("npcs/cli-bob").display_name == "Bob [bold]"
    shown = run("get", "cli-bob")
    assert "Bob [bold]" in shown
    assert "acts" in shown
    assert "seed 5, etag " in shown
    assert "cloned npcs/cli-rob" in run("clone", "npcs/cli-bob", "--npc-id", "cli-rob")
    listed = run("list", "--text", "cli-", "--archetype", "guard")
    assert listed.index("npcs/cli-bob") < listed.index("npcs/cli-rob")
    client.create("guard", "cli-mallory", display_name="\x1b[2J\x1b]0;owned\x07Mallory")
    shown = run("list", "--text", "cli-mallory")
    assert "Mallory" in shown
    assert not {"\x1b", "\x07"} & set(shown)
    assert run("delete", "cli-bob") == "deleted npcs/cli-bob\n"
    assert "npcs/cli-bob" not in run("list", "--text", "cli-")


def test_no_id_is_cut_however_narrow_the_terminal_is(run: Run, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    long = f"cli-{'x' * 59}"
    client.create("guard", long, display_name="somebody with a name that takes several lines in a narrow terminal")
    monkeypatch.setenv("COLUMNS", "60")
    [row] = [line for line in run("list", "--text", long).splitlines() if "npcs/" in line]
    assert f"npcs/{long} " in row
    assert "in a narrow terminal" in row
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    assert f"npcs/{long} " in run("list", "--text", long)


def test_scripts_get_a_line_of_json_for_each(run: Run, client: Client, archetypes: dict[str, Archetype]) -> None:
    for number in range(3):
        npc = client.create("scout", f"cli-json-{number}")
        if number:
            client.adapt(npc, clip(archetypes["scout"].spec, number))
    lines = [json.loads(line) for line in run("list", "--text", "cli-json", "--json").splitlines()]
    assert [(line["name"], line["examples"]) for line in lines] == [
        (f"npcs/cli-json-{number}", str(number)) for number in range(3)
    ]
    [line] = run("list", "--text", "cli-json", "--min-examples", 2, "--json").splitlines()
    assert json.loads(line) == json.loads(run("get", "cli-json-2", "--json"))


def test_an_npc_is_taught_from_recordings_and_renamed(
    run: Run, client: Client, archetypes: dict[str, Archetype], tmp_path: Path
) -> None:
    for name in ("cli-pupil", "cli-peer"):
        client.create("warden", name, seed=3)
    shown = clip(archetypes["warden"].spec, 30)
    fields = {field.name: array(value) for field, value in shown.ListFields()}
    np.savez(tmp_path / "play.npz", **fields)
    said = run("adapt", "cli-pupil", "--demo", tmp_path / "play.npz")
    assert "adapted npcs/cli-pupil: revision 2, 30 examples, NLL " in said
    assert ", known to " in said
    client.adapt("npcs/cli-peer", shown)
    assert client.fetch("npcs/cli-pupil/assets/state")[1] == client.fetch("npcs/cli-peer/assets/state")[1]
    assert "revision 3, 60 examples" in run("adapt", "cli-pupil", "--demo", tmp_path / "play.npz")
    assert "revision 4, 30 examples" in run("adapt", "cli-pupil", "--demo", tmp_path / "play.npz", "--from-scratch")
    assert "renamed npcs/cli-pupil" in run("rename", "cli-pupil", "Eve [the] first")
    assert client.get("npcs/cli-pupil").display_name == "Eve [the] first"


def test_a_kept_revision_is_listed_and_acts_again(run: Run, client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = client.create("guard", "cli-back")
    client.adapt(npc, clip(archetypes["guard"].spec, 7))
    assert "rolled back npcs/cli-back of archetypes/guard: revision 1, 0 examples" in run("rollback", "cli-back", 1)
    assert client.get(npc).revision == f"{npc}/revisions/1"


def test_an_npc_is_carried_in_a_file(
    run: Run, client: Client, archetypes: dict[str, Archetype], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npc = client.create("guard", "cli-out")
    client.adapt(npc, clip(archetypes["guard"].spec, 7))
    file = tmp_path / "deep" / "bob.npc"
    assert f"wrote {file}" in run("export", "cli-out", "--out", file)
    monkeypatch.chdir(tmp_path)
    run("export", "cli-out")
    assert (tmp_path / "cli-out.npc.safetensors").read_bytes() == file.read_bytes()
    client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=npc))
    assert "imported npcs/cli-out of archetypes/guard: revision 1, 7 examples" in run("import", file)
    assert "imported npcs/cli-in" in run("import", file, "--npc-id", "cli-in")
    assert client.fetch("npcs/cli-in/assets/state")[1] == client.fetch("npcs/cli-out/assets/state")[1]


REFUSED = {
    "there is no npcs/nobody; create it first": ("get", "nobody"),
    "expected npcs/{id}": ("get", "archetypes/guard"),
    "there is no archetypes/knight": ("create", "knight"),
    "expected an NPC's file": ("import", __file__),
    "No such file": ("import", "nowhere.npc"),
    "expected --demo FILE...": ("adapt", "cli-pupil", "--demo"),
    "--seed is -1": ("create", "guard", "--seed", "-1"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_refusal_is_said_in_the_servers_words(
    message: str, server: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["npc", *REFUSED[message], "--server", server.http]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said


def test_a_recording_that_is_not_there_is_named(
    client: Client, server: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    client.create("guard", "cli-unshown")
    assert main(["npc", "adapt", "cli-unshown", "--demo", "nowhere.npz", "--server", server.http]) == 1
    assert "nowhere.npz" in capsys.readouterr().err


def test_nobody_there_is_said_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert main(["npc", "list", "--server", f"http://127.0.0.1:{port}"]) == 1
    assert f"error: http://127.0.0.1:{port}: no server answers there; start one" in capsys.readouterr().err
    assert main(["npc", "list", "--server", "127.0.0.1:8080"]) == 1
    assert "expected http://HOST:PORT" in capsys.readouterr().err


def test_a_server_whose_certificate_nobody_else_knows_is_reached_with_its_authority(
    archetype_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority, store = trustme.CA(), f"sqlite:///{tmp_path / 'npcs.db'}"
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = TlsFiles(tmp_path / "server.pem", tmp_path / "server.key", None)
    write_certificate(authority, files)
    with served(Settings(archetype_folder, store, "127.0.0.1", 0, 0, tls=files)) as address:
        where = ["--server", address.http.replace("127.0.0.1", "localhost")]
        assert main(["npc", "create", "guard", *where, "--ca", str(tmp_path / "ca.pem")]) == 0


def test_a_token_is_taken_from_the_environment_or_a_file(
    archetype_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    player, line = tokens.new("game", "act", {})
    designer, other = tokens.new("studio", "adapt", {})
    (tmp_path / "tokens.toml").write_text(f"{line}\n{other}")
    (tmp_path / "designer").write_text(f"{designer}\n")
    store = f"sqlite:///{tmp_path / 'npcs.db'}"
    settings = Settings(archetype_folder, store, "127.0.0.1", 0, 0, tokens=tmp_path / "tokens.toml")
    with served(settings) as address:
        where = ["--server", address.http]
        assert main(["npc", "list", *where]) == 1
        assert "put a token into NPCMETA_TOKEN" in capsys.readouterr().err
        monkeypatch.setenv("NPCMETA_TOKEN", player)
        assert main(["npc", "list", *where]) == 0
        assert main(["npc", "create", "guard", *where]) == 1
        assert "role" in capsys.readouterr().err
        assert main(["npc", "create", "guard", *where, "--token-file", str(tmp_path / "designer")]) == 0
