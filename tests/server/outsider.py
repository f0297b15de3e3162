"""A client written from the .proto files alone: nothing of the project is imported. usage: outsider.py PORT"""

import pathlib
import sys
import tempfile

import grpc
import numpy as np
import onnxruntime
from npcmeta.v1 import (
    act_pb2,
    act_pb2_grpc,
    adapt_pb2,
    adapt_pb2_grpc,
    archetypes_pb2,
    archetypes_pb2_grpc,
    assets_pb2,
    assets_pb2_grpc,
    npcs_pb2,
    npcs_pb2_grpc,
    resources_pb2,
    tensor_pb2,
)

TWO = ("archetypes/guard", "archetypes/scout")
TYPES = {tensor_pb2.FLOAT32: np.float32, tensor_pb2.INT64: np.int64}


def tensor(values, kind):
    return tensor_pb2.Tensor(data_type=kind, shape=values.shape, data=values.tobytes())


def array(message):
    return np.frombuffer(message.data, TYPES[message.data_type]).reshape(tuple(message.shape))


def lesson(npc, spec, rng):
    """Two messages of examples of somebody who always does the same."""
    yield adapt_pb2.AdaptRequest(setup=adapt_pb2.AdaptSetup(npc=npc))
    for _ in range(2):
        seen = rng.standard_normal((30, spec.observation_size)).astype(np.float32)
        examples = tensor_pb2.Examples(observations=tensor(seen, tensor_pb2.FLOAT32))
        if spec.action.continuous_size:
            moves = np.full((30, spec.action.continuous_size), -0.6, np.float32)
            examples.continuous_actions.CopyFrom(tensor(moves, tensor_pb2.FLOAT32))
        if spec.action.branch_sizes:
            choices = np.ones((30, len(spec.action.branch_sizes)), np.int64)
            examples.discrete_actions.CopyFrom(tensor(choices, tensor_pb2.INT64))
        yield adapt_pb2.AdaptRequest(examples=examples)
    yield adapt_pb2.AdaptRequest(commit=adapt_pb2.Commit())


def group(number, archetype, npcs, first=0):
    members = [act_pb2.Member(index=first + i, npc=npc) for i, npc in enumerate(npcs)]
    return act_pb2.Group(group=number, archetype=archetype, members=members)


def main(port):
    rng = np.random.default_rng(0)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    npcs, adapting = npcs_pb2_grpc.NpcServiceStub(channel), adapt_pb2_grpc.AdaptServiceStub(channel)
    listed = archetypes_pb2_grpc.ArchetypeServiceStub(channel).ListArchetypes(archetypes_pb2.ListArchetypesRequest())
    offered = {entry.name: entry.spec for entry in listed.archetypes if entry.name in TWO}
    cast = {}
    for name, spec in offered.items():
        made = [npcs.CreateNpc(npcs_pb2.CreateNpcRequest(npc=resources_pb2.Npc(archetype=name))).name for _ in range(3)]
        for npc in made:
            last = list(adapting.Adapt(lesson(npc, spec, rng)))[-1]
            assert last.committed.revision.examples == 60, last
        cast[name] = made
    (first, second), specs = cast, list(offered.values())
    seen = rng.standard_normal((3, specs[0].observation_size)).astype(np.float32)

    def play():
        yield act_pb2.ActRequest(
            cast=act_pb2.Cast(groups=[group(1, first, cast[first][:2]), group(2, second, cast[second])])
        )
        rows = tensor(seen, tensor_pb2.FLOAT32)
        two = tensor(seen[:2], tensor_pb2.FLOAT32)
        parts = [
            act_pb2.Part(group=1, indices=[0, 1], observations=two),
            act_pb2.Part(group=2, indices=[0, 1, 2], observations=rows),
        ]
        yield act_pb2.ActRequest(tick=act_pb2.Tick(number=1, parts=parts))
        leave = act_pb2.Removal(group=2, indices=[0])
        yield act_pb2.ActRequest(cast=act_pb2.Cast(groups=[group(1, "", cast[first][2:], 2)], removals=[leave]))
        parts = [
            act_pb2.Part(group=2, indices=[1, 2], observations=two),
            act_pb2.Part(group=1, indices=[2, 0, 1], observations=rows),
        ]
        yield act_pb2.ActRequest(tick=act_pb2.Tick(number=2, parts=parts))

    answers = list(act_pb2_grpc.ActServiceStub(channel).Act(play()))
    assert [answer.WhichOneof("response") for answer in answers] == ["cast", "tick", "cast", "tick"]
    acted = {npc: (seen[i], answers[3].tick.parts[1], i) for i, npc in enumerate([cast[first][2], *cast[first][:2]])}
    acted |= {npc: (seen[i], answers[3].tick.parts[0], i) for i, npc in enumerate(cast[second][1:])}
    for npc, (row, part, index) in acted.items():
        assert part.revisions[index] == 2, part
        compare(assets_pb2_grpc.AssetServiceStub(channel), npc, row, part, index)
    print(f"{len(acted)} NPCs of {len(cast)} archetypes act as their assets do")


def compare(assets, npc, row, part, index):
    """The NPC's own file in plain onnxruntime decides as the server did."""
    header, *chunks = assets.FetchAsset(assets_pb2.FetchAssetRequest(name=f"{npc}/assets/ort"))
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / header.header.file_name
        file.write_bytes(b"".join(chunk.chunk for chunk in chunks))
        session = onnxruntime.InferenceSession(str(file))
    sizes = {entry.name: entry.shape[1] for entry in session.get_inputs()}
    feeds = {"observation": row[None], "noise": np.zeros((1, sizes["noise"]), np.float32)}
    if "action_mask" in sizes:
        feeds["action_mask"] = np.ones((1, sizes["action_mask"]), bool)
    outputs = [entry.name for entry in session.get_outputs()]
    found = dict(zip(outputs, session.run(outputs, feeds), strict=True))
    for name in ("continuous_actions", "discrete_actions"):
        if part.HasField(name):
            np.testing.assert_allclose(found[name][0], array(getattr(part, name))[index], atol=1e-5)


main(sys.argv[1])
