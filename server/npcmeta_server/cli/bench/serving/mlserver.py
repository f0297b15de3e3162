"""MLServer with the same model, if it is installed: what people would serve it with today.

Source: https://github.com/SeldonIO/MLServer, a runtime of one's own as its documentation shows. It knows no NPCs, so it
decides with shared weights, a whole frame in one ModelInfer; tensors go as raw bytes, which is its quickest form.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import grpc

from npcmeta_server.cli.bench.serving import world
from npcmeta_server.demo.host import free_port
from npcmeta_server.gen.open_inference import inference_pb2

NAME = "mlserver"
INFER, READY = "/inference.GRPCInferenceService/ModelInfer", "/inference.GRPCInferenceService/ModelReady"
START_SECONDS = 120.0
RUNTIME = '''"""Runs an ONNX file."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput


class Onnx(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
        self._names = [entry.name for entry in self._session.get_outputs() if entry.name != "head_params"]
        return True

    async def predict(self, payload):
        types = {"FP32": np.float32, "BOOL": np.bool_}
        feeds = {
            entry.name: np.asarray(entry.data.root, types[entry.datatype]).reshape(entry.shape)
            if not isinstance(entry.data.root, bytes)
            else np.frombuffer(entry.data.root, types[entry.datatype]).reshape(entry.shape)
            for entry in payload.inputs
        }
        found = self._session.run(self._names, feeds)
        outputs = [
            ResponseOutput(
                name=name, shape=list(value.shape), datatype="FP32" if value.dtype == np.float32 else "INT64",
                data=value.ravel().tolist(),
            )
            for name, value in zip(self._names, found)
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
'''


def installed() -> bool:
    """Whether there is an MLServer on the path, which may be that of an environment of its own, with onnxruntime."""
    return shutil.which(NAME) is not None


def start(cleanup: contextlib.ExitStack, folder: Path, model: bytes) -> tuple[str, int]:
    """Starts it in a folder, and waits until it is ready; its address, and its process.

    Raises:
        RuntimeError: If it does not start; the message names its log.
    """
    folder.mkdir()
    ports = {name: free_port() for name in ("grpc_port", "http_port", "metrics_port")}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
    described = {"name": world.NAME, "implementation": "runtime.Onnx", "parameters": {"uri": "model.onnx"}}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(described))
    (folder / "runtime.py").write_text(RUNTIME)
    (folder / "model.onnx").write_bytes(model)
    log = cleanup.enter_context((folder / "log").open("wb"))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.Popen([NAME, "start", "."], cwd=folder, stdout=log, stderr=log, env=environment)
    cleanup.callback(process.wait)
    cleanup.callback(process.kill)
    address = f"127.0.0.1:{ports['grpc_port']}"
    _wait(process, address, folder / "log")
    return address, process.pid


def frame(rows: int) -> bytes:
    """What the first NPCs see, as a ModelInferRequest."""
    widths = {"observation": world.OBSERVATION, "noise": world.CONTINUOUS + sum(world.BRANCHES)}
    shapes = [inference_pb2.ModelInferRequest.InferInputTensor(name=name, datatype="FP32", shape=[rows, width])
              for name, width in widths.items()]  # fmt: skip
    mask = [rows, sum(world.BRANCHES)]
    shapes.append(inference_pb2.ModelInferRequest.InferInputTensor(name="action_mask", datatype="BOOL", shape=mask))
    raw = [world.observations(rows).tobytes(), bytes(4 * rows * widths["noise"]), b"\1" * (mask[0] * mask[1])]
    request = inference_pb2.ModelInferRequest(model_name=world.NAME, inputs=shapes, raw_input_contents=raw)
    return request.SerializeToString()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(address) as channel:
        request = inference_pb2.ModelReadyRequest(name=world.NAME).SerializeToString()
        ask = channel.unary_unary(READY, None, inference_pb2.ModelReadyResponse.FromString)
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(grpc.RpcError):
                if ask(request, timeout=1).ready:
                    return
            time.sleep(0.1)
    raise RuntimeError(f"MLServer did not become ready: {log.read_text(errors='replace')[-500:]}")
