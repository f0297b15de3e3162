"""Two servers on one database: what one offers from now on, the other offers as soon as somebody asks for it."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from npcmeta_server.gen.npcmeta.v1 import adapt_pb2, archetypes_pb2, npcs_pb2
from tests import toys
from tests.server import conftest
from tests.server.client import Client, clip, observations
from tests.server.store.postgres import Cluster
from tests.server.test_life_faults import serving
from tests.server.test_uploads import chunks, get, refused, retire
from tests.server.upgrading.playing import Files, Player, Upgrading

pytestmark = pytest.mark.postgres


@pytest.fixture
def pair(files: Files, cluster: Cluster, tmp_path: Path) -> Iterator[tuple[Upgrading, Upgrading]]:
    url = cluster.new_database()
    with contextlib.ExitStack() as stack:
        found = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "archetypes").symlink_to(files.folder)
            _, address = stack.enter_context(serving(tmp_path / name, url))
            found.append(Upgrading(stack.enter_context(grpc.insecure_channel(address))))
        yield found[0], found[1]
        assert " ERROR npcmeta_server" not in "".join(path.read_text() for path in tmp_path.glob("*/log"))


def new_ones(upgrading: Upgrading) -> str:
    """The archetype revision that a new NPC gets."""
    [made] = upgrading.revisions(upgrading.client.create("guard"))
    return made.archetype_revision


def listed(client: Client) -> list[str]:
    found = client.archetypes.ListArchetypes(archetypes_pb2.ListArchetypesRequest()).archetypes
    return [each.name for each in found]


def test_a_revision_that_one_made_current_is_given_to_new_npcs_by_the_other(
    pair: tuple[Upgrading, Upgrading], files: Files
) -> None:
    first, second = pair
    npcs = [second.client.create("guard") for _ in range(20)]
    with Player(second.client, npcs) as player:
        uploaded = first.client.archetypes.UploadArchetype(chunks(files.new, current=True)).revision
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(lambda _: new_ones(second), range(16))) == {uploaded}
        assert get(second.client).revision == uploaded
        worse = first.upload(files.worse)
        assert new_ones(second) == uploaded
        done = first.end(first.begin(worse, unchecked=True))
        assert (done.npcs, done.moved) == (36 + 1, 36 + 1)
        assert get(second.client).revision == worse  # whoever asks, before somebody is made
        assert new_ones(second) == new_ones(first) == worse
        second.end(second.begin(files.old.revision, unchecked=True))
        assert new_ones(first) == files.old.revision
        seen = player.frames
    assert seen > 20
    assert list(second.client.act_once("guard", npcs, observations(20)).revisions) == [3] * 20


def test_an_archetype_that_one_offers_or_retires_is_offered_or_not_by_the_other(
    pair: tuple[Upgrading, Upgrading], tmp_path: Path
) -> None:
    first, second = (each.client for each in pair)
    conftest.save("scout", tmp_path)
    data = (tmp_path / "scout.safetensors").read_bytes()
    first.archetypes.UploadArchetype(chunks(data, "scout"))
    scout, guard = first.create("scout"), first.create("guard")
    shown = npcs_pb2.CreateDemonstrationRequest(parent=scout, examples=clip(toys.spec("discrete")))
    lesson = [
        adapt_pb2.AdaptRequest(setup=adapt_pb2.AdaptSetup(npc=guard)),
        adapt_pb2.AdaptRequest(demonstration=first.npcs.CreateDemonstration(shown).name),
    ]
    assert refused(lambda: list(second.adapting.Adapt(iter(lesson))))[0] == "WRONG_ARCHETYPE"
    assert list(second.act_once("scout", [scout], observations(1)).revisions) == [1]
    other = second.create("scout")
    assert refused(lambda: retire(first, "scout"))[0] == "ARCHETYPE_IN_USE"
    for npc in (scout, other):
        first.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=npc))
    retire(first, "scout")
    assert refused(lambda: second.create("scout"))[0] == "ARCHETYPE_NOT_FOUND"
    assert listed(first) == listed(second) == ["archetypes/guard"]
    second.archetypes.UploadArchetype(chunks(data, "scout"))
    assert listed(first) == listed(second) == ["archetypes/guard", "archetypes/scout"]
    assert list(second.act_once("scout", [first.create("scout")], observations(1)).revisions) == [1]
