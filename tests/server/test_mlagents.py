"""`--mlagents-port`: a Unity build with ML-Agents is driven as if by its trainer."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest

from npcmeta.archetype import Archetype
from npcmeta.recordings.gen.mlagents_demo.demo_pb2 import AgentInfo
from npcmeta.types import ActionSpec
from npcmeta_server.cli.serve import behaviors
from npcmeta_server.demo import host
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2
from npcmeta_server.mlagents.cast import Numbers
from tests import toys
from tests.server.client import Client, array, clip, observations, refusal
from tests.server.unity_game import RESET, UNITY, Agent, UnityGame

MIXED, DISCRETE = toys.ACTIONS["mixed"], toys.ACTIONS["discrete"]


class Trainer(NamedTuple):
    """A server with a port for Unity."""

    client: Client
    port: str


@pytest.fixture(scope="module")
def trainer(archetype_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    folder, port = tmp_path_factory.mktemp("trainer"), str(host.free_port())
    more = ["--mlagents-port", port, "--mlagents-likeliest"]
    more += ["--mlagents-behaviors", "Old Scout=scout", "Rock=", "Ghost=nosuch"]
    with (
        host.server(archetype_folder, folder / "npcs.db", folder / "log", more) as address,
        grpc.insecure_channel(address.grpc) as channel,
    ):
        yield Trainer(Client(channel), port)
    log = (folder / "log").read_text()
    assert " ERROR npcmeta_server" not in log
    assert log.count("npcmeta_server.serving behaviour") == 1
    assert 'WARNING npcmeta_server.serving behaviour "Ghost": there is no archetypes/nosuch' in log


def agent(number: int, seen: np.ndarray, **more: object) -> Agent:
    """An agent whose observations come from two sensors."""
    return Agent(number, [seen[:1], seen[1:]], **more)  # type: ignore[arg-type]


def test_a_game_plays_while_its_npcs_are_adapted(trainer: Trainer, archetypes: dict[str, Archetype]) -> None:
    game, seen = UnityGame(trainer.port), observations(4)
    assert (game.began.communication, game.began.package_version) == ("1.5.0", "1.1.0")
    assert game.began.caps.hybrid
    assert not game.began.caps.png
    assert game.first_command == RESET
    brains = {"Guard?team=0": MIXED, "Guard?team=1": MIXED, "Old Scout?team=0": DISCRETE}
    frame = {
        "Guard?team=0": [agent(7, seen[0]), agent(3, seen[1])],
        "Guard?team=1": [agent(4, seen[2])],
        "Old Scout?team=0": [agent(9, seen[3])],
    }
    acted = game.step(brains, frame)
    client = trainer.client
    expected = client.act_once("guard", ["npcs/guard-0", "npcs/guard-1", "npcs/guard-team1-0"], seen[:3])
    done = [acted["Guard?team=0"][7], acted["Guard?team=0"][3], acted["Guard?team=1"][4]]
    np.testing.assert_allclose([each.continuous for each in done], array(expected.continuous_actions), atol=1e-6)
    assert [each.discrete for each in done] == array(expected.discrete_actions).tolist()
    assert done[0].old == pytest.approx([*done[0].continuous, *done[0].discrete])
    assert client.get("npcs/old-scout-0").archetype == "archetypes/scout"
    assert acted["Old Scout?team=0"][9].continuous == []
    assert len(acted["Old Scout?team=0"][9].discrete) == 2

    client.adapt("npcs/guard-1", clip(archetypes["guard"].spec))
    again = game.step(brains, frame)
    assert again["Guard?team=0"][7] == acted["Guard?team=0"][7]
    assert again["Guard?team=0"][3] != acted["Guard?team=0"][3]
    taught = client.act_once("guard", ["npcs/guard-1"], seen[[1]])
    assert list(taught.revisions) == [2]
    np.testing.assert_allclose(again["Guard?team=0"][3].continuous, array(taught.continuous_actions)[0], atol=1e-6)
    game.close()


def test_agents_keep_their_npc_over_episodes(trainer: Trainer, archetypes: dict[str, Archetype]) -> None:
    """Unity gives an agent a new id for each episode, and says of the old one that it is done."""
    client, seen = trainer.client, observations(1)[0]
    client.create("guard", "guard-team5-1")
    client.adapt("npcs/guard-team5-1", clip(archetypes["guard"].spec))
    game, name = UnityGame(trainer.port), "Guard?team=5"
    first = game.step({name: MIXED}, {name: [agent(1, seen), agent(2, seen)]})[name]
    assert first[1] != first[2]
    ended = game.step({}, {name: [agent(2, seen, done=True), agent(1, seen)]})[name]
    assert ended == {1: first[1]}
    begun = game.step({}, {name: [agent(1, seen, done=True), agent(8, seen)]})[name]
    assert begun == {8: first[2]}
    begun = game.step({}, {name: [agent(9, seen), agent(8, seen)]})[name]
    assert begun == {9: first[1], 8: first[2]}
    assert game.step({}, {name: [agent(9, seen, done=True)]}) == {}
    game.close()


def test_numbers_follow_the_order_in_which_agents_end() -> None:
    numbers = Numbers()

    def follow(*agents: int) -> list[int]:
        return numbers.follow([AgentInfo(id=abs(each), done=each < 0) for each in agents])

    assert follow(10, 11, 12) == [0, 1, 2]
    assert follow(-12, -10, 11, 13, 14) == [1, 2, 0]
    assert follow(15, -11, 16) == [3, 1]
    assert follow(13, 14, 15, 16) == [2, 0, 3, 1]
    assert follow(-99, 17) == [4]


def test_masks_are_turned_round(trainer: Trainer) -> None:
    game, name = UnityGame(trainer.port), "Old Scout?team=0"
    for free in range(3):
        masked = [choice != free for choice in range(3)] + [True, False]
        acted = game.step({name: DISCRETE}, {name: [agent(1, np.zeros(3), masked=masked), agent(2, np.zeros(3))]})
        assert acted[name][1].discrete == [free, 1]
    game.close()


def test_a_behaviour_that_is_nobody_stands_still(trainer: Trainer) -> None:
    game, seen = UnityGame(trainer.port), observations(1)[0]
    brains = {"Rock?team=0": ActionSpec(7, ()), "Scout": DISCRETE}
    acted = game.step(brains, {"Rock?team=0": [Agent(1, [seen, seen])], "Scout": [agent(2, seen)]})
    assert set(acted) == {"Scout"}
    game.close()


def test_a_deleted_npc_is_made_anew(trainer: Trainer) -> None:
    game, seen, name = UnityGame(trainer.port), observations(1)[0], "Guard?team=6"
    before = game.step({name: MIXED}, {name: [agent(1, seen)]})
    first = trainer.client.get("npcs/guard-team6-0")
    trainer.client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=first.name))
    assert set(game.step({}, {name: [agent(1, seen)]})) == set(before)
    assert trainer.client.get("npcs/guard-team6-0").etag != first.etag
    game.close()


def test_two_games_at_once_and_one_that_vanishes(trainer: Trainer) -> None:
    games, seen = [UnityGame(trainer.port) for _ in range(2)], observations(2)
    frame = {"Guard?team=7": [agent(1, seen[0]), agent(2, seen[1])]}
    first, second = (game.step({"Guard?team=7": MIXED}, frame) for game in games)
    assert first == second
    games[0].channel.close()
    assert games[1].step({}, frame) == second
    games[1].close()


@pytest.mark.parametrize(
    ("package", "expected"), [("1.0.8", "0.20.0"), ("2.0.1", "0.27.0"), ("4.0.0", "1.1.0"), ("", "1.1.0")]
)
def test_the_trainer_is_one_that_the_package_takes(trainer: Trainer, package: str, expected: str) -> None:
    game = UnityGame(trainer.port, communication="1.0.0", package=package)
    assert game.began.package_version == expected
    game.close()


@pytest.mark.parametrize(
    ("name", "spec", "seen", "reason", "said"),
    [
        ("Goblin", MIXED, [3], "ARCHETYPE_NOT_FOUND", "there is no archetypes/goblin; offered are: guard, painter"),
        ("Goblin", MIXED, [3], "ARCHETYPE_NOT_FOUND", 'serve with --mlagents-behaviors "Goblin=ARCHETYPE"'),
        ("Guard", DISCRETE, [3], "SPEC_MISMATCH", 'behaviour "Guard" has 0 continuous actions and branches of [3, 2]'),
        ("Guard", MIXED, [2, 2], "SPEC_MISMATCH", "4 observations of agent 5, in sensors of [2, 2]"),
        ("Guard", MIXED, [], "SPEC_MISMATCH", 'in sensors of [], archetype "guard" expects 3'),
        ("Guard?squad=1", MIXED, [3], "INVALID_NAME", 'a behaviour is called "Guard?squad=1", expected a name'),
        ("§", MIXED, [3], "INVALID_NAME", "expected a name with letters or digits"),
    ],
)
def test_what_does_not_fit_is_said(
    trainer: Trainer, name: str, spec: ActionSpec, seen: list[int], reason: str, said: str
) -> None:
    """Unity writes the message of a failed call into its own log."""
    game = UnityGame(trainer.port)
    with pytest.raises(grpc.RpcError) as error:
        game.step({name: spec}, {name: [Agent(5, [np.zeros(size, np.float32) for size in seen])]})
    _, found, message = refusal(error.value)
    assert found == reason
    assert said in message
    game.channel.close()


def test_images_nan_and_masks_of_another_width_are_said(trainer: Trainer) -> None:
    seen = observations(1)[0]
    image = UNITY["AgentInfo"](id=1)
    image.seen.add(shape=[3, 8, 8], compression=1, compressed=b"\x89PNG", name="camera")
    for info, reason, said in (
        (image, "SPEC_MISMATCH", 'a compressed image in sensor "camera" of agent 1'),
        (agent(1, np.full(3, np.nan)), "INVALID_TENSOR", "expected finite numbers; its agents, by row: 1"),
        (
            agent(1, np.full(3, np.inf)),
            "INVALID_TENSOR",
            'behaviour "Guard": observations holds NaN or infinity in row 0',
        ),
        (agent(1, seen, masked=[False]), "SPEC_MISMATCH", "an action mask of 1 values of agent 1"),
        (agent(1, seen, masked=[True] * 5), "INVALID_TENSOR", "allows nothing in branch 0 of row 0"),
    ):
        game = UnityGame(trainer.port)
        with pytest.raises(grpc.RpcError) as error:
            game.step({"Guard": MIXED}, {"Guard": [info]})
        _, found, message = refusal(error.value)
        assert (found, said in message) == (reason, True), message
        game.channel.close()


def test_another_protocol_is_refused(trainer: Trainer) -> None:
    with pytest.raises(grpc.RpcError) as error:
        UnityGame(trainer.port, communication="2.0.0")
    assert 'the game speaks version "2.0.0" of the communicator' in refusal(error.value)[2]


def test_behaviours_on_the_command_line() -> None:
    assert behaviors(("My Guard=guard", "A=B=c", "Rock=")) == {"My Guard": "guard", "A=B": "c", "Rock": ""}
    for wrong in ("guard", "=guard"):
        with pytest.raises(ValueError, match=f'--mlagents-behaviors has "{wrong}", expected NAME=ARCHETYPE'):
            behaviors((wrong,))
