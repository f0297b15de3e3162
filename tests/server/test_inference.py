"""The Open Inference Protocol: what KServe's and Triton's clients speak."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from npcmeta.archetype import Archetype
from npcmeta_server.cli import top
from npcmeta_server.demo.host import Address
from npcmeta_server.gen.open_inference import inference_pb2
from tests import toys
from tests.server.client import Client, Stream, array, clip, observations, refusal

SERVICE = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]


@pytest.fixture
def call(server: Address) -> Any:
    """Calls a method by name, from the .proto file alone."""
    with grpc.insecure_channel(server.grpc) as channel:

        def ask(method: str, request: Any) -> Any:
            answer = getattr(inference_pb2, f"{method}Response")
            path = f"/{SERVICE.full_name}/{method}"
            return channel.unary_unary(path, type(request).SerializeToString, answer.FromString)(request)

        yield ask


Call = Callable[[str, Any], Any]


def raw_request(archetype: str, seen: np.ndarray, npcs: list[str], **more: Any) -> inference_pb2.ModelInferRequest:
    request = inference_pb2.ModelInferRequest(model_name=archetype, **more)
    request.inputs.add(name="observations", datatype="FP32", shape=seen.shape)
    request.inputs.add(name="npcs", datatype="BYTES", shape=[len(npcs)])
    texts = b"".join(struct.pack("<I", len(npc)) + npc.encode() for npc in npcs)
    request.raw_input_contents.extend([seen.tobytes(), texts])
    return request


def typed_request(archetype: str, seen: np.ndarray, npc: str) -> inference_pb2.ModelInferRequest:
    request = inference_pb2.ModelInferRequest(model_name=archetype)
    contents = inference_pb2.InferTensorContents(fp32_contents=seen.ravel().tolist())
    request.inputs.add(name="observations", datatype="FP32", shape=seen.shape, contents=contents)
    request.parameters["npc"].string_param = npc
    return request


def test_the_model_is_described(call: Call, archetypes: dict[str, Archetype]) -> None:
    assert call("ServerLive", inference_pb2.ServerLiveRequest()).live
    assert call("ServerReady", inference_pb2.ServerReadyRequest()).ready
    described = call("ModelMetadata", inference_pb2.ModelMetadataRequest(name="guard"))
    assert list(described.versions) == [archetypes["guard"].revision]
    tensors = [(entry.name, entry.datatype, list(entry.shape)) for entry in (*described.inputs, *described.outputs)]
    assert tensors == [
        ("observations", "FP32", [-1, toys.OBSERVATION]),
        ("action_mask", "BOOL", [-1, 5]),
        ("npcs", "BYTES", [-1]),
        ("continuous_actions", "FP32", [-1, 2]),
        ("discrete_actions", "INT64", [-1, 2]),
        ("revisions", "INT64", [-1]),
    ]
    ready = inference_pb2.ModelReadyRequest(name="guard", version=archetypes["guard"].revision)
    assert call("ModelReady", ready).ready
    assert not call("ModelReady", inference_pb2.ModelReadyRequest(name="guard", version="2")).ready
    assert not call("ModelReady", inference_pb2.ModelReadyRequest(name="Gu ard")).ready


def test_raw_and_typed_tensors_decide_as_act_once_does(
    client: Client, call: Call, archetypes: dict[str, Archetype]
) -> None:
    npcs, seen = [client.create("guard") for _ in range(2)], observations(2)
    client.adapt(npcs[1], clip(archetypes["guard"].spec))
    expected = client.act_once("guard", npcs, seen)
    found = call("ModelInfer", raw_request("guard", seen, [npcs[0], npcs[1].removeprefix("npcs/")], id="a"))
    assert (found.id, found.model_version) == ("a", archetypes["guard"].revision)
    assert [output.name for output in found.outputs] == ["continuous_actions", "discrete_actions", "revisions"]
    continuous, discrete, revisions = found.raw_output_contents
    assert continuous == expected.continuous_actions.data
    assert discrete == expected.discrete_actions.data
    assert np.frombuffer(revisions, np.int64).tolist() == [1, 2]
    typed = call("ModelInfer", typed_request("guard", seen[[1]], npcs[1]))
    assert not typed.raw_output_contents
    continuous, discrete, revisions = (output.contents for output in typed.outputs)
    np.testing.assert_allclose(continuous.fp32_contents, array(expected.continuous_actions)[1], atol=1e-6)
    assert list(discrete.int64_contents) == array(expected.discrete_actions)[1].tolist()
    assert list(revisions.int64_contents) == [2]


def test_drawn_actions_are_those_of_the_number(client: Client, call: Call) -> None:
    npc, seen = client.create("guard", seed=5), observations(1)
    found = []
    for number in (3, 3, 4):
        request = raw_request("guard", seen, [npc])
        request.parameters["sampled"].bool_param = True
        request.parameters["number"].int64_param = number
        found.append(call("ModelInfer", request).raw_output_contents[0])
    assert found[0] == found[1] != found[2]
    assert found[0] == client.act_once("guard", [npc], seen, sampled=True, number=3).continuous_actions.data


def test_some_outputs_alone(client: Client, call: Call) -> None:
    request = raw_request("guard", observations(1), [client.create("guard")])
    request.outputs.add(name="revisions")
    assert [output.name for output in call("ModelInfer", request).outputs] == ["revisions"]


def spoil(request: inference_pb2.ModelInferRequest, how: str) -> None:
    """Makes a sound request bad in one way."""
    if how == "no npc":
        del request.inputs[1], request.raw_input_contents[1]
    elif how == "npc twice":
        request.parameters["npc"].string_param = "bob"
    elif how == "npc is a number":
        del request.inputs[1], request.raw_input_contents[1]
        request.parameters["npc"].int64_param = 1
    elif how == "datatype":
        request.inputs[0].datatype = "FP64"
    elif how == "raw missing":
        del request.raw_input_contents[1]
    elif how == "bytes":
        request.raw_input_contents[0] = request.raw_input_contents[0][:-1]
    elif how == "text":
        request.raw_input_contents[1] = b"\xff\xff\xff\xff"
    elif how == "utf-8":
        request.raw_input_contents[1] = struct.pack("<I", 1) + b"\xff"
    elif how == "input":
        request.inputs[0].name = "input_0"
    elif how == "output":
        request.outputs.add(name="logits")
    elif how == "version":
        request.model_version = "1"
    elif how == "rows":
        request.inputs[0].shape[:] = [1 << 40, 0]
        request.parameters["npc"].string_param = "bob"
        del request.inputs[1], request.raw_input_contents[1]
    elif how == "shared memory":
        request.inputs[0].parameters["shared_memory_region"].string_param = "x"
    elif how == "NaN":
        request.raw_input_contents[0] = np.full(toys.OBSERVATION, np.nan, np.float32).tobytes()
    else:
        request.model_name = "nobody"


@pytest.mark.parametrize(
    ("how", "reason", "said"),
    [
        ("no npc", "INVALID_ARGUMENT", 'no NPC is named, expected either the parameter "npc"'),
        ("npc twice", "INVALID_ARGUMENT", "NPCs are named twice"),
        ("npc is a number", "INVALID_ARGUMENT", 'parameter "npc" is int64_param, expected string_param'),
        ("datatype", "INVALID_TENSOR", 'observations is "FP64", expected FP32'),
        ("raw missing", "INVALID_TENSOR", "1 raw_input_contents for 2 inputs"),
        ("bytes", "INVALID_TENSOR", "observations holds 11 bytes, expected 12"),
        ("text", "INVALID_TENSOR", "npcs says 4294967295 bytes of text where fewer are left"),
        ("utf-8", "INVALID_TENSOR", "no UTF-8 text"),
        ("input", "INVALID_TENSOR", 'input "input_0", expected observations, action_mask, npcs once each'),
        ("output", "INVALID_ARGUMENT", 'output "logits" is wanted, expected some of continuous_actions'),
        ("version", "REVISION_UNAVAILABLE", 'model_version is "1", loaded is '),
        ("rows", "TOO_MANY", "observations have 1099511627776 rows, expected 1 to 20000"),
        ("shared memory", "INVALID_ARGUMENT", '"observations" asks for shared_memory_region, which is not supported'),
        ("NaN", "INVALID_TENSOR", "observations holds NaN or infinity in row 0"),
        ("model", "ARCHETYPE_NOT_FOUND", "there is no archetypes/nobody; offered are: guard, painter, scout"),
    ],
)
def test_bad_requests_are_refused(client: Client, call: Call, how: str, reason: str, said: str) -> None:
    request = raw_request("guard", observations(1), [client.create("guard")])
    spoil(request, how)
    with pytest.raises(grpc.RpcError) as error:
        call("ModelInfer", request)
    _, found, message = refusal(error.value)
    assert found == reason
    assert said in message


def test_a_stream_outlives_a_bad_request_which_is_counted(client: Client, server: Address) -> None:
    def refusals() -> float:
        return top.read(server.http, "").by("npcmeta_errors_total", "reason").get("INVALID_TENSOR", 0.0)

    npc, before = client.create("guard"), refusals()
    with grpc.insecure_channel(server.grpc) as channel:
        method = channel.stream_stream(
            f"/{SERVICE.full_name}/ModelStreamInfer",
            inference_pb2.ModelInferRequest.SerializeToString,
            inference_pb2.ModelStreamInferResponse.FromString,
        )
        stream = Stream(method)
        bad = stream.ask(raw_request("guard", observations(2), [npc], id="bad"))
        assert bad.error_message == "INVALID_TENSOR: observations have 2 rows, expected 1, one for each NPC"
        assert bad.infer_response.id == "bad"
        good = stream.ask(raw_request("guard", observations(1), [npc], id="good"))
        assert (good.error_message, good.infer_response.id) == ("", "good")
        final = [each.infer_response.parameters["triton_final_response"].bool_param for each in (bad, good)]
        assert final == [True, True]  # until which clients of any model read on
        stream.close()
    assert refusals() == before + 1


@pytest.fixture(scope="session")
def triton_python(pytestconfig: pytest.Config) -> Path:
    """A Python that has tritonclient, which does not bear our version of protobuf; made once and kept."""
    folder = Path(pytestconfig.cache.mkdir("tritonclient"))  # type: ignore[union-attr]
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    done = folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "tritonclient[grpc]>=2.60"], check=True)
        done.touch()
    return python


def test_tritonclient_does_the_whole_job(
    client: Client, server: Address, archetypes: dict[str, Archetype], triton_python: Path
) -> None:
    npcs = [client.create("guard") for _ in range(3)]
    client.adapt(npcs[1], clip(archetypes["guard"].spec))
    program = Path(__file__).with_name("triton.py")
    done = subprocess.run(
        [str(triton_python), str(program), server.grpc, "guard", *npcs], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 NPCs decided, alone as together; revisions [1, 2, 1]\n"
