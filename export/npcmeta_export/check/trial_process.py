"""The other side of `trial`: loads and runs one model under limits, and says in JSON what happened."""

from __future__ import annotations

import json
import sys
from typing import Any

BATCHES = (1, 3)
EXAMPLES = 4
"""The size of every dynamic axis but the first."""
TYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16", "tensor(bool)": "bool",
    "tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(uint8)": "uint8", "tensor(int8)": "int8",
    "tensor(int16)": "int16", "tensor(uint16)": "uint16", "tensor(uint32)": "uint32", "tensor(uint64)": "uint64",
}  # fmt: skip


def limit(memory: int, seconds: int) -> None:
    """Bounds this process; where there is no such thing, the caller's clock is the only limit."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    for kind, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (value, value))


def main(path: str, memory: int, seconds: int, max_dimensions: int) -> dict[str, Any]:
    """Loads, runs, and looks at the shapes in between."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    limit(memory, seconds)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return {"refused": short(error)}
    runs = [run(session, rows) for rows in BATCHES]
    return {"runs": runs, "dimensions": deep_values(path, max_dimensions) if max_dimensions else []}


def run(session: Any, rows: int) -> dict[str, Any]:
    """One run on zeros, with everything allowed and every example counting."""
    import numpy as np

    fed = {}
    for value in session.get_inputs():
        shape = [axis if isinstance(axis, int) else EXAMPLES if place else rows
                 for place, axis in enumerate(value.shape)]  # fmt: skip
        ones = "mask" in value.name or value.name == "weight"
        fed[value.name] = (np.ones if ones else np.zeros)(shape, TYPES.get(value.type, "float32"))
    try:
        found = session.run(None, fed)
    except Exception as error:
        return {"rows": rows, "error": short(error)}
    batched = any(value.shape and not isinstance(value.shape[0], int) for value in session.get_inputs())
    outputs = {value.name: np.asarray(array) for value, array in zip(session.get_outputs(), found, strict=True)}
    return {
        "rows": rows,
        "outputs": {name: array.shape[0] for name, array in outputs.items() if batched and array.ndim},
        "not_finite": [name for name, array in outputs.items()
                       if array.dtype.kind == "f" and not np.isfinite(array).all()],
    }  # fmt: skip


def deep_values(path: str, most: int) -> list[str]:
    """Names of values in between whose shapes have too many axes."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
    except Exception:
        return []
    return [value.name for value in inferred.graph.value_info if len(value.type.tensor_type.shape.dim) > most][:20]


def short(error: Exception) -> str:
    """The message, in one line of readable letters."""
    text = " ".join(str(error).split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:300]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:5]))))
