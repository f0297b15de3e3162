"""The other side of `trial`: loads and runs one model under limits, and says in JSON what happened."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

BATCHES = (1, 3)
EXAMPLES = 4
"""The size of every dynamic axis but the first, and of a last one whose size was told."""
ROUNDING = 0.02
"""By what part of the largest number an output may differ: float16 and weights of 8 bits round so much."""
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


def main(path: str, memory: int, seconds: int, max_dimensions: int, widths: dict[str, int]) -> dict[str, Any]:
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
    runs = [run(session, rows, widths) for rows in BATCHES]
    dimensions = deep_values(path, max_dimensions) if max_dimensions else []
    return {"runs": runs, "dimensions": dimensions} | compare(session, widths)


def run(session: Any, rows: int, widths: dict[str, int]) -> dict[str, Any]:
    """One run on zeros, with everything allowed and every example counting."""
    import numpy as np

    try:
        found = session.run(None, feed(session, rows, widths, np.zeros))
    except Exception as error:
        return {"rows": rows, "error": short(error)}
    outputs = {value.name: np.asarray(array) for value, array in zip(session.get_outputs(), found, strict=True)}
    return {
        "rows": rows,
        "outputs": {name: array.shape[0] for name, array in outputs.items() if batched(session) and array.ndim},
        "not_finite": [name for name, array in outputs.items()
                       if array.dtype.kind == "f" and not np.isfinite(array).all()],
    }  # fmt: skip


def compare(session: Any, widths: dict[str, int]) -> dict[str, list[str]]:
    """Outputs that differ between equal runs, and those of which a row is another one when it runs alone."""
    import numpy as np

    rows = max(BATCHES)
    fed = feed(session, rows, widths, np.random.default_rng(0).random)
    try:
        whole, again = session.run(None, fed), session.run(None, fed)
        alone = {
            row: session.run(None, fed | {name: fed[name][row : row + 1] for name in batched(session)})
            for row in (0, rows - 1)
        }
    except Exception:  # numbers that the network does not take; zeros have been tried
        return {"drawn": [], "mixed": []}
    names = [value.name for value in session.get_outputs()]
    return {
        "drawn": [name for name, one, other in zip(names, whole, again, strict=True) if differ(one, other)],
        "mixed": [name for place, name in enumerate(names) if np.shape(whole[place])[:1] == (rows,) and any(
            differ(whole[place][row : row + 1], found[place]) for row, found in alone.items())],
    }  # fmt: skip


def feed(session: Any, rows: int, widths: dict[str, int], numbers: Callable[[list[int]], Any]) -> dict[str, Any]:
    """Inputs for so many rows: everything allowed, every example counting, and such numbers where they are floats."""
    import numpy as np

    fed = {}
    for value in session.get_inputs():
        shape = [axis if isinstance(axis, int) else EXAMPLES if place else rows
                 for place, axis in enumerate(value.shape)]  # fmt: skip
        shape[-1:] = [widths.get(value.name, 0) or size for size in shape[-1:]]
        kind = TYPES.get(value.type, "float32")
        ones = "mask" in value.name or value.name == "weight"
        fed[value.name] = (np.ones if ones else numbers if "float" in kind else np.zeros)(shape).astype(kind)
    return fed


def batched(session: Any) -> list[str]:
    """The inputs with a row for each character."""
    return [value.name for value in session.get_inputs() if value.shape and not isinstance(value.shape[0], int)]


def differ(one: Any, other: Any) -> bool:
    """Whether two outputs of the same shape differ by more than rounding; what is not finite is left out."""
    import numpy as np

    one, other = np.asarray(one, "float64"), np.asarray(other, "float64")
    if one.shape != other.shape:
        return False
    finite = np.isfinite(one) & np.isfinite(other)
    gap, size = np.abs(one - other)[finite], np.abs(one)[finite]
    return bool(gap.max(initial=0.0) > ROUNDING * size.max(initial=0.0))


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
    most, time, dimensions = map(int, sys.argv[2:5])
    print(json.dumps(main(sys.argv[1], most, time, dimensions, json.load(sys.stdin))))
