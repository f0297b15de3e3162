"""Triton's own client, unchanged, in an environment of its own. usage: triton.py ADDRESS ARCHETYPE NPC..."""

import queue
import sys

import numpy as np
import tritonclient.grpc as triton


def make_input(name, values, datatype):
    given = triton.InferInput(name, list(values.shape), datatype)
    given.set_data_from_numpy(values)
    return given


def tensors_of(described, datatype, shape):
    kinds = {"TYPE_STRING": "BYTES"}
    return [
        (each["name"], kinds.get(each[datatype], each[datatype].removeprefix("TYPE_")), each[shape])
        for each in described
    ]


def main(address, model, *npcs):
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata().name == "npcmeta"
    described = client.get_model_metadata(model)
    listed = client.get_model_metadata(model, as_json=True)
    sizes = {entry.name: list(entry.shape) for entry in described.inputs}
    config = client.get_model_config(model, as_json=True)["config"]
    assert (config["name"], config["backend"], "max_batch_size" in config) == (model, "npcmeta", False)
    assert tensors_of(config["input"], "data_type", "dims") == tensors_of(listed["inputs"], "datatype", "shape")
    assert tensors_of(config["output"], "data_type", "dims") == tensors_of(listed["outputs"], "datatype", "shape")
    assert [entry["name"] for entry in config["input"] if "optional" not in entry] == ["observations"]
    names = np.array([npc.encode() for npc in npcs], np.object_)
    rng = np.random.default_rng(0)
    seen = rng.standard_normal((len(npcs), sizes["observations"][1])).astype(np.float32)
    mask = np.ones((len(npcs), sizes["action_mask"][1]), bool)
    mask[:, 0] = False
    inputs = [
        make_input("observations", seen, "FP32"),
        make_input("npcs", names, "BYTES"),
        make_input("action_mask", mask, "BOOL"),
    ]
    together = client.infer(model, inputs, request_id="17")
    assert together.get_response().id == "17"
    assert (together.as_numpy("discrete_actions")[:, 0] > 0).all()
    outputs = [triton.InferRequestedOutput(entry.name) for entry in described.outputs]

    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for row, npc in enumerate(npcs):
        inputs = [make_input("observations", seen[[row]], "FP32"), make_input("action_mask", mask[[row]], "BOOL")]
        client.async_stream_infer(model, inputs, outputs=outputs, parameters={"npc": npc}, request_id=str(row))
    client.async_stream_infer(model, inputs, parameters={"npc": "npcs/nobody"}, request_id="bad")
    client.async_stream_infer(model, inputs, parameters={"npc": npcs[-1]}, request_id="last")
    for row in range(len(npcs)):
        result, error = answers.get(timeout=20)
        assert error is None, error
        assert result.get_response().id == str(row)
        for entry in described.outputs:
            np.testing.assert_allclose(result.as_numpy(entry.name)[0], together.as_numpy(entry.name)[row], atol=1e-5)
    _, error = answers.get(timeout=20)
    assert "there is no npcs/nobody" in str(error), error
    result, error = answers.get(timeout=20)
    assert (error, result.get_response().id) == (None, "last")
    client.stop_stream()
    inputs = [make_input("observations", seen, "FP32")]
    client.async_infer(
        model, inputs, lambda result, error: answers.put((result, error)), parameters={"npc": "npcs/nobody"}
    )
    result, error = answers.get(timeout=20)
    assert (result, error.status()) == (None, "StatusCode.NOT_FOUND"), error
    print(f"{len(npcs)} NPCs decided, alone as together; revisions {together.as_numpy('revisions').tolist()}")


main(*sys.argv[1:])
