"""Those who call everything at once: what each call does, and what must hold of its answer.

A name is never given twice, so whoever was deleted stays so, and what acted can be held against what was committed.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from npcmeta_server.gen.npcmeta.v1 import (
    adapt_pb2,
    archetypes_pb2,
    npcs_pb2,
    resources_pb2,
    upgrades_pb2,
    upgrades_pb2_grpc,
)
from tests import toys
from tests.server.client import Client, Stream, adapt_requests, clip, observations, refusal
from tests.server.test_uploads import chunks
from tests.soak.victim import ARCHETYPE

SHOWN = clip(toys.spec("mixed"), 20)
MOST_NPCS = 40
REFUSALS = {
    "NPC_NOT_FOUND", "ETAG_MISMATCH", "ADAPT_IN_PROGRESS", "ARCHETYPE_NOT_FOUND", "ARCHETYPE_IN_USE", "TOO_MANY",
    "UPGRADE_IN_PROGRESS", "REVISION_NOT_FOUND", "REVISION_UNAVAILABLE", "DEMONSTRATION_NOT_FOUND", "INVALID_ARGUMENT",
}  # fmt: skip
"""What somebody else's doing may come to; anything else is a fault."""


class Npc:
    """What is known of an NPC by those who called."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.acknowledged = 1  # the highest revision, unless somebody rolled it back
        self.acted: set[int] = set()
        self.leaving = self.gone = self.rolled_back = False


class Throng:
    """Who is there, and what went wrong."""

    def __init__(self, files: list[bytes], seed: int, calls: int) -> None:
        self.files, self.calls, self.left, self.failure = files, calls, calls, ""
        self.npcs: list[Npc] = []
        self.done: Counter[str] = Counter()
        self._numbers, self._lock = random.Random(seed), threading.Lock()

    def draw(self) -> random.Random | None:
        """Chance for one more call; None if that was all."""
        with self._lock:
            self.left -= 1
            return random.Random(self._numbers.getrandbits(64)) if self.left >= 0 and not self.failure else None

    def anybody(self, chance: random.Random) -> Npc | None:
        """Somebody who is not leaving."""
        here = [npc for npc in self.npcs if not npc.leaving]
        return chance.choice(here) if here else None

    def came(self, name: str) -> None:
        """Somebody was made."""
        self.npcs.append(Npc(name))

    def fail(self, said: object) -> None:
        """Ends everything."""
        self.failure = self.failure or str(said)[:500]


class Visitor:
    """One client: each of its methods calls a method or two of the server."""

    def __init__(self, channel: grpc.Channel, throng: Throng, chance: random.Random, npc: Npc | None) -> None:
        self.client, self.upgrades = Client(channel), upgrades_pb2_grpc.UpgradeServiceStub(channel)
        self.throng, self.chance = throng, chance
        self.npc = npc or Npc("npcs/nobody")
        self.id = f"{chance.getrandbits(60):x}"

    def create(self) -> None:
        if sum(not npc.leaving for npc in self.throng.npcs) < MOST_NPCS:
            self.throng.came(self.client.create(ARCHETYPE, self.id))

    def clone(self) -> None:
        if sum(not npc.leaving for npc in self.throng.npcs) < MOST_NPCS:
            wanted = npcs_pb2.CloneNpcRequest(source=self.npc.name, npc_id=self.id)
            self.throng.came(self.client.npcs.CloneNpc(wanted).name)

    def delete(self) -> None:
        self.npc.leaving = True
        self.client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=self.npc.name, request_id=self.id))
        self.npc.gone = True
        self.client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=self.npc.name, request_id=self.id))

    def look_for_the_deleted(self) -> None:
        for npc in [npc for npc in self.throng.npcs if npc.gone][-3:]:
            for call in (self.client.get, lambda name: self.client.act_once(ARCHETYPE, [name], observations(1))):
                try:
                    call(npc.name)
                except grpc.RpcError as error:
                    assert refusal(error)[1] in ("NPC_NOT_FOUND", "ARCHETYPE_NOT_FOUND"), error
                else:
                    raise AssertionError(f"{npc.name} was deleted, and is there")

    def rename_twice_with_one_etag(self) -> None:
        etag = self.client.get(self.npc.name).etag
        wanted = npcs_pb2.UpdateNpcRequest(
            npc=resources_pb2.Npc(name=self.npc.name, display_name=self.id), update_mask=FieldMask(), etag=etag
        )
        calls = [self.client.npcs.UpdateNpc.future(wanted) for _ in range(2)]
        assert sum(call.exception() is None for call in calls) <= 1, f"two changes of {self.npc.name} with one etag"
        calls[0].result()

    def adapt(self) -> None:
        told = self.client.adapt(self.npc.name, SHOWN, SHOWN, from_scratch=self.chance.random() < 0.5)
        self.npc.acknowledged = max(self.npc.acknowledged, told[-1].committed.revision.number)

    def adapt_twice_at_once(self) -> None:
        setup = adapt_pb2.AdaptSetup(npc=self.npc.name, request_id=self.id, from_scratch=True)
        wanted = adapt_pb2.AdaptOnceRequest(setup=setup, examples=[SHOWN])
        calls = [self.client.adapting.AdaptOnce(wanted) for _ in range(2)]
        numbers = set()
        for call in calls:
            try:
                numbers.add(list(call)[-1].committed.revision.number)
            except grpc.RpcError as error:
                assert refusal(error)[1] in REFUSALS, error
        assert len(numbers) <= 1, f"one request made revisions {numbers} of {self.npc.name}"
        self.npc.acknowledged = max(self.npc.acknowledged, *numbers, 1)

    def give_up_adapting(self) -> None:
        stream = Stream(self.client.adapting.Adapt)
        for request in adapt_requests(self.npc.name, SHOWN)[: self.chance.randint(1, 3)]:
            stream.send(request)
        time.sleep(self.chance.uniform(0, 0.1))
        stream.call.cancel()

    def roll_back(self) -> None:
        self.npc.rolled_back = True
        listed = self.client.npcs.ListRevisions(npcs_pb2.ListRevisionsRequest(parent=self.npc.name)).revisions
        wanted = npcs_pb2.RollbackNpcRequest(name=self.npc.name, revision=self.chance.choice(listed).name)
        self.client.npcs.RollbackNpc(wanted)

    def carry(self) -> None:
        kind = self.chance.choice(["npc", "npc", "ort", "state"])
        _, file = self.client.fetch(f"{self.npc.name}/assets/{kind}")
        if kind == "npc" and sum(not npc.leaving for npc in self.throng.npcs) < MOST_NPCS:
            self.throng.came(self.client.npcs.ImportNpc(npcs_pb2.ImportNpcRequest(npc_id=self.id, file=file)).name)

    def demonstrate(self) -> None:
        wanted = npcs_pb2.CreateDemonstrationRequest(parent=self.npc.name, examples=SHOWN, request_id=self.id)
        made = self.client.npcs.CreateDemonstration(wanted)
        assert self.client.npcs.CreateDemonstration(wanted) == made
        self.client.npcs.DeleteDemonstration(npcs_pb2.DeleteDemonstrationRequest(name=made.name))

    def look_around(self) -> None:
        self.client.npcs.ListNpcs(npcs_pb2.ListNpcsRequest(page_size=3))
        assert self.client.archetypes.ListArchetypes(archetypes_pb2.ListArchetypesRequest()).archetypes

    def upload(self) -> None:
        data, current = self.chance.choice(self.throng.files), self.chance.random() < 0.3
        self.client.archetypes.UploadArchetype(chunks(data, current=current))

    def retire(self) -> None:
        self.client.archetypes.RetireArchetype(self.with_revision(archetypes_pb2.RetireArchetypeRequest, "name"))

    def upgrade(self) -> None:
        wanted = self.with_revision(upgrades_pb2.UpgradeNpcsRequest, "archetype", unchecked=self.chance.random() < 0.5)
        calls = [self.upgrades.UpgradeNpcs.future(wanted) for _ in range(2)]
        ends = [call.exception() for call in calls]
        begun = {call.result().name for call, end in zip(calls, ends, strict=True) if end is None}
        told = [refusal(end)[2] for end in ends if end is not None]
        assert len(begun) <= 1, f"one request began {begun}"
        assert not any(name in said for name in begun for said in told), f"one request is in its own way: {told}"
        if not begun:
            raise ends[0]
        time.sleep(self.chance.uniform(0, 1))
        self.upgrades.CancelUpgrade(upgrades_pb2.CancelUpgradeRequest(name=begun.pop()))

    def with_revision(self, kind: Callable[..., Any], field: str, **more: Any) -> Any:
        """A request about some revision of the archetype."""
        name = f"archetypes/{ARCHETYPE}"
        found = self.client.archetypes.GetArchetype(archetypes_pb2.GetArchetypeRequest(name=name)).revisions
        return kind(**{field: name}, revision=self.chance.choice(found).revision, request_id=self.id, **more)


WEIGHTS: dict[Callable[[Visitor], None], int] = {
    Visitor.create: 8, Visitor.clone: 3, Visitor.delete: 3, Visitor.look_for_the_deleted: 3,
    Visitor.rename_twice_with_one_etag: 3, Visitor.adapt: 8, Visitor.adapt_twice_at_once: 3, Visitor.roll_back: 3,
    Visitor.give_up_adapting: 3, Visitor.carry: 4, Visitor.demonstrate: 3, Visitor.look_around: 2, Visitor.upload: 1,
    Visitor.retire: 1, Visitor.upgrade: 1,
}  # fmt: skip
