"""onnxruntime sessions, set up in one place."""

from __future__ import annotations

from pathlib import Path

import onnxruntime


def load_session(model: bytes | Path) -> onnxruntime.InferenceSession:
    """Loads a model for one thread of its own, without spinning: on a busy machine more threads only add waiting."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
