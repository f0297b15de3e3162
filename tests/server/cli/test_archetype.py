"""`npcmeta archetype` against a running server: an operator's walk from an upload to an upgrade and back."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from npcmeta.archetype import Archetype
from npcmeta_server.cli import main
from npcmeta_server.demo import host
from tests import toys
from tests.server import conftest
from tests.server.client import Client, clip, observations

Run = Callable[..., str]


@pytest.fixture(scope="module")
def revisions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Archetype]]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("old", "worse")}
    old = conftest.save("guard", folders["old"], 1)
    worse = conftest.save("guard", folders["worse"], 3, trained=False)
    return {"old": (folders["old"], old), "worse": (folders["worse"] / "guard.safetensors", worse)}


@pytest.fixture
def server(revisions: dict[str, tuple[Path, Archetype]], tmp_path: Path) -> Iterator[host.Address]:
    with host.server(revisions["old"][0], tmp_path / "npcs.db", tmp_path / "log") as address:
        yield address


@pytest.fixture
def run(server: host.Address, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs an action; returns what it printed, as an error if that is expected."""
    monkeypatch.setenv("COLUMNS", "200")

    def act(*arguments: object, fails: bool = False) -> str:
        status = main(["archetype", *map(str, arguments), "--server", server.http])
        said = capsys.readouterr()
        assert status == fails
        return said.err if fails else said.out

    return act


def test_from_an_upload_to_an_upgrade_and_back(
    run: Run, server: host.Address, revisions: dict[str, tuple[Path, Archetype]]
) -> None:
    old, (file, worse) = revisions["old"][1].revision, revisions["worse"]
    with grpc.insecure_channel(server.grpc) as channel:
        client = Client(channel)
        for number in range(5):
            client.create("guard", f"npc-{number}")
        client.adapt("npcs/npc-0", clip(toys.spec("mixed"), 40))
        assert "of which 0 are not current" in run("rollback", "guard", fails=True)
        uploaded = f"uploaded revision {worse.revision[:12]} of archetypes/guard, which has 2 revisions; current is "
        assert run("upload", file) == f"{uploaded}{old[:12]}\n"
        listed = run("list")
        assert [word in listed for word in (old[:12], worse.revision[:12], "current", "active")] == [True] * 4
        assert '0 begin with "nothing"' in run("upgrade", "guard", "--revision", "nothing", fails=True)
        said = run("upgrade", "guard")
        assert "5 NPCs to revision" in said
        assert "npcs/npc-0" in said
        assert "it would be worse" in said
        assert "NPCs act with it" in run("retire", "guard", "--revision", old[:8], fails=True)
        [newest] = (json.loads(each) for each in run("status", "guard", "--json").splitlines())
        assert (newest["moved"], newest["kept"], newest["state"]) == ("4", "1", "UPGRADE_DONE")
        run("upgrade", "guard", "--revision", worse.revision, "--npc", "npc-0", "npc-1", "--unchecked", "--no-wait")
        deadline = time.monotonic() + 60
        while "running" in (shown := run("status", "guard")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert shown.count("done") == 2
        named, _ = (json.loads(each) for each in run("status", "guard", "--json").splitlines())
        assert (named["npcs"], named["moved"], named["unchecked"]) == ("2", "1", True)  # the other was moved before
        assert "there already" in shown
        assert "no upgrade of archetypes/guard is running" in run("cancel", "guard", fails=True)
        run("rollback", "guard")
        time.sleep(5)  # for as long the NPCs of each revision stay counted
        [found] = (json.loads(each) for each in run("list", "--json").splitlines())
        counts = {each["revision"]: (each["npcs"], each["current"]) for each in found["revisions"]}
        assert counts == {old: ("5", True), worse.revision: ("0", False)}
        assert run("retire", "guard", "--revision", worse.revision[:8]) == (
            f"retired revision {worse.revision[:12]} of archetypes/guard\n"
        )
        assert "kept" in run("list")
        assert len(client.act_once("guard", [f"npcs/npc-{n}" for n in range(5)], observations(5)).revisions) == 5


def test_a_file_that_is_none_is_said_plainly(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.safetensors").write_text("not an archetype")
    assert "not a safetensors file" in run("upload", tmp_path / "notes.safetensors", fails=True)
    assert "there is no archetypes/knight" in run("upgrade", "knight", fails=True)
