"""A Unity game that is paused for long goes on as it was, and one that vanished holds no place."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from npcmeta.archetype import Archetype
from npcmeta_server.demo.host import free_port
from npcmeta_server.services import exchange
from npcmeta_server.serving import MlAgents, Settings
from tests import toys
from tests.server.client import Client, clip, observations
from tests.server.in_thread import served
from tests.server.test_mlagents import agent
from tests.server.unity_game import UnityGame

NAME, SPEC = "Guard?team=0", toys.ACTIONS["mixed"]


class Impatient(NamedTuple):
    """A server to which a game is gone soon, with room for one."""

    client: Client
    port: str


@pytest.fixture
def impatient(archetype_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Impatient]:
    monkeypatch.setattr(exchange, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(exchange, "MAX_GAMES", 1)
    store, port = f"sqlite:///{tmp_path / 'npcs.db'}", free_port()
    settings = Settings(archetype_folder, store, "127.0.0.1", 0, 0, mlagents=MlAgents(port, {}, sampled=False))
    with served(settings) as server, grpc.insecure_channel(server.grpc) as channel:
        yield Impatient(Client(channel), str(port))


def test_everybody_is_in_their_place_after_a_pause(impatient: Impatient, archetypes: dict[str, Archetype]) -> None:
    impatient.client.create("guard", "guard-1")
    impatient.client.adapt("npcs/guard-1", clip(archetypes["guard"].spec))
    game, seen = UnityGame(impatient.port), observations(1)[0]
    first = game.step({NAME: SPEC}, {NAME: [agent(1, seen), agent(2, seen)]})[NAME]
    ended = [agent(2, seen, done=True), agent(1, seen, done=True)]
    begun = game.step({}, {NAME: [*ended, agent(8, seen), agent(9, seen)]})[NAME]
    assert begun == {8: first[2], 9: first[1]}
    time.sleep(2 * exchange.IDLE_SECONDS)
    assert game.step({}, {NAME: [agent(8, seen), agent(9, seen)]})[NAME] == begun
    game.close()


def test_a_game_that_vanished_makes_room(impatient: Impatient) -> None:
    UnityGame(impatient.port).channel.close()
    deadline, joined = time.monotonic() + 60, None
    while joined is None and time.monotonic() < deadline:
        with contextlib.suppress(grpc.RpcError):
            joined = UnityGame(impatient.port)
    assert joined is not None
    joined.close()
