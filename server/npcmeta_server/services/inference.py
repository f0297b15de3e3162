"""The Open Inference Protocol (KServe v2): an archetype is a model, and NPCs are named by each request.

Source: github.com/kserve/open-inference-protocol, gRPC; the stream is Triton's extension of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

import numpy as np

import npcmeta
from npcmeta_server import inference_tensors, names
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import act_pb2, tensor_pb2
from npcmeta_server.gen.open_inference import inference_pb2
from npcmeta_server.inference_tensors import Input
from npcmeta_server.limits import MAX_ROWS
from npcmeta_server.roster import Roster
from npcmeta_server.services.act import Act
from npcmeta_server.services.stopping import until

PLATFORM = "npcmeta"
FINAL = "triton_final_response"
"""What Triton says in a stream of the last answer to a request; clients for any model read on until it comes."""
TRITON_TYPES = {
    "BOOL": inference_pb2.TYPE_BOOL,
    "INT64": inference_pb2.TYPE_INT64,
    "FP32": inference_pb2.TYPE_FP32,
    "BYTES": inference_pb2.TYPE_STRING,
}
"""How a model's configuration calls the datatypes of its tensors."""

V = TypeVar("V", bool, int, str)


class Inference:
    """Answers GRPCInferenceService; a request becomes an ActOnce."""

    def __init__(self, roster: Roster, act: Act, stopping: asyncio.Event) -> None:
        """Once `stopping` is set, the server is not ready and streams are asked to reconnect."""
        self._roster, self._act, self._stopping = roster, act, stopping

    async def server_live(self, request: inference_pb2.ServerLiveRequest) -> inference_pb2.ServerLiveResponse:
        """Whether the server runs."""
        return inference_pb2.ServerLiveResponse(live=True)

    async def server_ready(self, request: inference_pb2.ServerReadyRequest) -> inference_pb2.ServerReadyResponse:
        """Whether it takes requests."""
        return inference_pb2.ServerReadyResponse(ready=not self._stopping.is_set())

    async def model_ready(self, request: inference_pb2.ModelReadyRequest) -> inference_pb2.ModelReadyResponse:
        """Whether an archetype is offered; no error if it is not, as with Triton."""
        try:
            await self._hosted(request.name, request.version)
        except ServiceError:
            return inference_pb2.ModelReadyResponse(ready=False)
        return inference_pb2.ModelReadyResponse(ready=not self._stopping.is_set())

    async def server_metadata(
        self, request: inference_pb2.ServerMetadataRequest
    ) -> inference_pb2.ServerMetadataResponse:
        """Who answers."""
        return inference_pb2.ServerMetadataResponse(name="npcmeta", version=npcmeta.__version__)

    async def model_metadata(self, request: inference_pb2.ModelMetadataRequest) -> inference_pb2.ModelMetadataResponse:
        """The tensors of an archetype."""
        hosted = await self._hosted(request.name, request.version)
        tensor = inference_pb2.ModelMetadataResponse.TensorMetadata
        return inference_pb2.ModelMetadataResponse(
            name=hosted.archetype.name,
            versions=[each.archetype.revision for each in self._roster.repertoire.revisions(hosted.archetype.name)],
            platform=PLATFORM,
            inputs=[tensor(name=n, datatype=kind, shape=shape) for n, kind, shape in _inputs(hosted)],
            outputs=[tensor(name=n, datatype=kind, shape=shape) for n, kind, shape in _outputs(hosted)],
        )

    async def model_config(self, request: inference_pb2.ModelConfigRequest) -> inference_pb2.ModelConfigResponse:
        """The same in Triton's words."""
        hosted = await self._hosted(request.name, request.version)
        config = inference_pb2.ModelConfig(name=hosted.archetype.name, platform=PLATFORM, backend=PLATFORM)
        for name, kind, dims in _inputs(hosted):
            config.input.add(name=name, data_type=TRITON_TYPES[kind], dims=dims, optional=name != "observations")
        for name, kind, dims in _outputs(hosted):
            config.output.add(name=name, data_type=TRITON_TYPES[kind], dims=dims)
        return inference_pb2.ModelConfigResponse(config=config)

    async def model_infer(self, request: inference_pb2.ModelInferRequest) -> inference_pb2.ModelInferResponse:
        """Decides for some NPCs of an archetype."""
        hosted = await self._hosted(request.model_name, request.model_version)
        wanted = _wanted_outputs(hosted, request)
        acted = await self._act.act_once(_act_request(hosted, request))
        found: dict[str, tensor_pb2.Tensor | np.ndarray] = {
            "continuous_actions": acted.continuous_actions,
            "discrete_actions": acted.discrete_actions,
            "revisions": np.array(acted.revisions, np.int64),
        }
        response = inference_pb2.ModelInferResponse(
            model_name=hosted.archetype.name, model_version=hosted.archetype.revision, id=request.id
        )
        raw = len(request.raw_input_contents) > 0
        for name in wanted:
            inference_tensors.write(response, name, found[name], raw=raw)
        return response

    async def model_stream_infer(
        self, requests: AsyncIterator[inference_pb2.ModelInferRequest]
    ) -> AsyncIterator[inference_pb2.ModelStreamInferResponse]:
        """One response for each request, in order; a bad one is refused alone."""
        async with until(self._stopping, requests) as asked:
            async for request in asked:
                try:
                    answer = inference_pb2.ModelStreamInferResponse(infer_response=await self.model_infer(request))
                except ServiceError as error:
                    empty = inference_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
                    answer = inference_pb2.ModelStreamInferResponse(error_message=error.line(), infer_response=empty)
                answer.infer_response.parameters[FINAL].bool_param = True
                yield answer

    async def _hosted(self, model: str, version: str) -> Hosted:
        hosted = await self._roster.offered(names.checked_id(model, "model_name"))
        if not version:
            return hosted
        if self._roster.repertoire.revision(model, version) is None:
            await self._roster.reserve.follow(model)  # another server may have made it current
        # A client that names the version of yesterday is answered while NPCs move: each decides with its own anyhow.
        if (named := self._roster.repertoire.revision(model, version)) is None:
            raise ServiceError(
                "REVISION_UNAVAILABLE",
                f'model_version is "{version[:64]}", loaded is {hosted.archetype.revision}; leave it empty for that',
                archetype=hosted.archetype.name,
            )
        return named


def _act_request(hosted: Hosted, request: inference_pb2.ModelInferRequest) -> act_pb2.ActOnceRequest:
    given = inference_tensors.inputs(request, [name for name, _, _ in _inputs(hosted)])
    if "observations" not in given:
        raise ServiceError("INVALID_TENSOR", "the input observations is missing", field="observations")
    acting = act_pb2.ActOnceRequest(
        archetype=f"archetypes/{hosted.archetype.name}",
        observations=inference_tensors.read(given["observations"], "FP32"),
    )
    if "action_mask" in given:
        acting.action_mask.CopyFrom(inference_tensors.read(given["action_mask"], "BOOL"))
    rows = acting.observations.shape[0] if acting.observations.shape else 0
    acting.npcs.extend(_npcs(request, given.get("npcs"), rows))
    acting.sampled = _parameter(request, "sampled", "bool_param", False)
    number = _parameter(request, "number", "int64_param", 0)
    if number < 0:
        raise ServiceError("INVALID_ARGUMENT", f"number is {number}, expected 0 or more", field="number")
    acting.number = number
    return acting


def _npcs(request: inference_pb2.ModelInferRequest, given: Input | None, rows: int) -> list[str]:
    """The NPC of each row: from the input, or one for all rows from the parameter."""
    one = _parameter(request, "npc", "string_param", "")
    if (given is None) == (not one):
        raise ServiceError(
            "INVALID_ARGUMENT",
            f"{'no NPC is named' if given is None else 'NPCs are named twice'}, expected either the parameter "
            '"npc", a text for all rows, or the input "npcs", BYTES [n]',
            field="npcs",
        )
    if given is None:
        if not 0 < rows <= MAX_ROWS:
            raise ServiceError("TOO_MANY", f"observations have {rows} rows, expected 1 to {MAX_ROWS}", limit=MAX_ROWS)
        return [_full(one)] * rows
    return [_full(name) for name in inference_tensors.read_names(given)]


def _full(name: str) -> str:
    """The resource name of an NPC that is named by its id alone or in full."""
    return name if name.startswith("npcs/") else f"npcs/{name}"


def _parameter(request: inference_pb2.ModelInferRequest, name: str, kind: str, otherwise: V) -> V:
    """The value of a request's parameter, or another if it has none of that name."""
    if name not in request.parameters:
        return otherwise
    found = request.parameters[name]
    if (which := found.WhichOneof("parameter_choice")) != kind:
        raise ServiceError("INVALID_ARGUMENT", f'parameter "{name}" is {which or "empty"}, expected {kind}', field=name)
    value: V = getattr(found, kind)
    return value


def _inputs(hosted: Hosted) -> Iterator[tuple[str, str, list[int]]]:
    """Name, datatype and shape of what an archetype takes."""
    spec = hosted.archetype.spec
    yield "observations", "FP32", [-1, spec.observation_size]
    if spec.action.mask_size:
        yield "action_mask", "BOOL", [-1, spec.action.mask_size]
    yield "npcs", "BYTES", [-1]


def _outputs(hosted: Hosted) -> Iterator[tuple[str, str, list[int]]]:
    """Name, datatype and shape of what it gives."""
    action = hosted.archetype.spec.action
    if action.continuous_size:
        yield "continuous_actions", "FP32", [-1, action.continuous_size]
    if action.branch_sizes:
        yield "discrete_actions", "INT64", [-1, len(action.branch_sizes)]
    yield "revisions", "INT64", [-1]


def _wanted_outputs(hosted: Hosted, request: inference_pb2.ModelInferRequest) -> list[str]:
    offered = [name for name, _, _ in _outputs(hosted)]
    for output in request.outputs:
        inference_tensors.refuse_unsupported(output.name, output.parameters)
        if output.name not in offered:
            raise ServiceError(
                "INVALID_ARGUMENT",
                f'output "{output.name[:80]}" is wanted, expected some of {", ".join(offered)}',
                field="outputs",
            )
    return list(dict.fromkeys(output.name for output in request.outputs)) or offered
