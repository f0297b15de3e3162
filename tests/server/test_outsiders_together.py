"""Other people's clients of a server find the archetypes that only another server of its database was given."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from npcmeta_server.demo.host import free_port
from npcmeta_server.gen.open_inference import inference_pb2
from tests import toys
from tests.server import conftest
from tests.server.client import Client, observations
from tests.server.store.postgres import Cluster
from tests.server.test_inference import SERVICE, raw_request
from tests.server.test_life_faults import serving
from tests.server.test_mlagents import agent
from tests.server.test_uploads import chunks
from tests.server.unity_game import UnityGame

pytestmark = pytest.mark.postgres
SEEN = observations(2)


class Pair(NamedTuple):
    """Two servers, which begin with the guard alone."""

    first: Client
    channel: grpc.Channel  # of the second
    unity_port: str  # of the second
    folder: Path

    def give(self, archetype: str, seed: int) -> str:
        """Uploads an archetype to the first server, as the current revision, which it returns."""
        conftest.save(archetype, self.folder, seed, trained=False)
        data = (self.folder / f"{archetype}.safetensors").read_bytes()
        return self.first.archetypes.UploadArchetype(chunks(data, archetype, current=True)).revision


@pytest.fixture(scope="module")
def pair(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder, url, port = tmp_path_factory.mktemp("pair"), cluster.new_database(), str(free_port())
    (folder / "archetypes").mkdir()
    conftest.save("guard", folder / "archetypes", trained=False)
    with contextlib.ExitStack() as stack:
        _, first = stack.enter_context(serving(folder, url))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("NPCMETA_MLAGENTS_PORT", port)
            _, second = stack.enter_context(serving(folder, url))
        channels = [stack.enter_context(grpc.insecure_channel(address)) for address in (first, second)]
        yield Pair(Client(channels[0]), channels[1], port, folder)


def ask(pair: Pair, method: str, request: Any) -> Any:
    answer = getattr(inference_pb2, f"{method}Response")
    path = f"/{SERVICE.full_name}/{method}"
    return pair.channel.unary_unary(path, type(request).SerializeToString, answer.FromString)(request)


def test_the_inference_protocol(pair: Pair) -> None:
    revision = pair.give("scout", 1)
    assert ask(pair, "ModelReady", inference_pb2.ModelReadyRequest(name="scout")).ready
    assert list(ask(pair, "ModelMetadata", inference_pb2.ModelMetadataRequest(name="scout")).versions) == [revision]
    pair.first.create("scout", "eve")
    assert ask(pair, "ModelInfer", raw_request("scout", SEEN, ["eve"] * 2)).model_version == revision
    newer = pair.give("scout", 2)
    answer = ask(pair, "ModelInfer", raw_request("scout", SEEN, ["eve"] * 2, model_version=newer))
    assert answer.model_version == newer


def test_a_unity_game(pair: Pair) -> None:
    pair.give("painter", 1)
    game = UnityGame(pair.unity_port)
    acted = game.step({"Painter?team=0": toys.ACTIONS["continuous"]}, {"Painter?team=0": [agent(3, SEEN[0])]})
    assert len(acted["Painter?team=0"][3].continuous) == 2
    game.close()
    assert pair.first.get("npcs/painter-0").archetype == "archetypes/painter"
