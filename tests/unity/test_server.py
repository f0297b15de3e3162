"""The C# client and its headless sample against the real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import onnxruntime
import pytest
from torch import Generator

from npcmeta.archetype import Archetype, save_archetype
from npcmeta.types import Normaliser
from npcmeta_server.access import tokens
from npcmeta_server.demo import host
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2, npcs_pb2_grpc
from npcmeta_server.serving import Settings
from tests import toys
from tests.server.in_thread import served
from tests.unity import faulty_server
from tests.unity.conftest import CLIENT, Compile, Run

pytestmark = pytest.mark.xdist_group("unity")


@pytest.fixture(scope="module")
def server(mono: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[host.Address]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "archetypes").mkdir()
    for kind in toys.ACTIONS:
        save_untrained(kind, folder / "archetypes" / f"{kind}.safetensors")
    with host.server(folder / "archetypes", folder / "npcs.db", folder / "log") as address:
        yield address


def save_untrained(kind: str, path: Path) -> None:
    settings, spec = toys.small_settings("maml"), toys.spec(kind)
    normaliser = Normaliser((0.0,) * spec.observation_size, (1.0,) * spec.observation_size)
    meta = settings.build(spec).init(Generator().manual_seed(3))
    save_archetype(Archetype(kind, "toy", "maml", settings, spec, normaliser, {}, {}, meta), path)


@pytest.fixture(scope="module")
def sample(compile_program: Compile) -> Path:
    return compile_program("headless", *sorted((CLIENT / "Samples~" / "Headless").glob("*.cs")))


@pytest.mark.parametrize("kind", toys.ACTIONS)
def test_the_sample_adapts_somebody_towards_its_character(
    kind: str, server: host.Address, sample: Path, run_program: Run, tmp_path: Path
) -> None:
    done = run_program(sample, "--server", server.http, "--archetype", kind, "--assets", tmp_path / "made")
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = (measures(line) for line in done.stdout.splitlines() if line.startswith(("before", "after")))
    assert len(before) == (2 if kind == "mixed" else 1)
    assert all(late < early for early, late in zip(before, after, strict=True)), done.stdout
    steps = re.findall(r"step (\d) of 5", done.stdout)
    assert (steps[0], steps[-1], steps) == ("0", "5", sorted(set(steps)))
    assert "INVALID_TENSOR" in done.stdout
    assert "expected = 3" in done.stdout

    [name] = re.findall(r"made (npcs/\w+) of archetypes/", done.stdout)
    with grpc.insecure_channel(server.grpc) as channel:
        npc = npcs_pb2_grpc.NpcServiceStub(channel).GetNpc(npcs_pb2.GetNpcRequest(name=name))
    assert (npc.revision, npc.examples) == (f"{name}/revisions/2", 150)
    [asset] = (tmp_path / "made").iterdir()
    inputs = onnxruntime.InferenceSession(asset).get_inputs()
    assert inputs[0].name == "observation"


def measures(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", line)]


def test_the_other_methods_of_the_client(server: host.Address, compile_program: Compile, run_program: Run) -> None:
    program = compile_program("server_check", Path(__file__).with_name("ServerCheck.cs"))
    done = run_program(program, server.http, "archetypes/mixed")
    assert (done.returncode, done.stdout.strip()) == (0, "all as expected"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--server", "http://127.0.0.1:1"], "error: Unavailable: no answer from http://127.0.0.1:1"),
        (["--server", "{faulty}/no-archetypes"], "offers no archetypes yet"),
        (["--server", "{faulty}/error-in-headers"], "InvalidArgument (INVALID_TENSOR): observation has 31"),
        (["--server", "{faulty}/good", "--archetype", "wolf"], "the server offers archetypes/guard"),
        (["--server", "bob"], 'the server is "bob", expected an address like http://127.0.0.1:8080'),
        (["--speed", "9"], "there is no option --speed; usage: "),
        (["--server"], "--server needs a value; usage: "),
    ],
)  # fmt: skip
def test_the_sample_says_what_is_wrong(
    arguments: list[str], message: str, sample: Path, run_program: Run, tmp_path: Path
) -> None:
    with faulty_server.running() as faulty:
        done = run_program(sample, *(argument.format(faulty=faulty) for argument in arguments))
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, "one line is enough"


def test_the_sample_shows_its_token_and_says_what_that_may_not_do(
    sample: Path, run_program: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archetypes").mkdir()
    save_untrained("mixed", tmp_path / "archetypes" / "mixed.safetensors")
    text, lines = tokens.new("game", "act", {})
    (tmp_path / "tokens.toml").write_text(lines)
    store = f"sqlite:///{tmp_path / 'npcs.db'}"
    settings = Settings(tmp_path / "archetypes", store, "127.0.0.1", 0, 0, tokens=tmp_path / "tokens.toml")
    with served(settings) as server:
        asked = ("--server", server.http, "--archetype", "mixed", "--assets", tmp_path / "assets")
        monkeypatch.delenv("NPCMETA_TOKEN", raising=False)
        without = run_program(sample, *asked)
        monkeypatch.setenv("NPCMETA_TOKEN", text)
        known = run_program(sample, *asked)
    assert without.stderr.startswith("error: Unauthenticated (INVALID_TOKEN): the call has no token")
    assert known.stderr.startswith("error: PermissionDenied (ROLE_NEEDED): token game has the role act, ")
