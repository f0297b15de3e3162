"""How much autograd keeps for the way back from a loss."""

from __future__ import annotations

from torch import Tensor


def saved_bytes(loss: Tensor) -> int:
    """Bytes of all tensors that the graph behind a loss has saved, each storage once.

    Read from the graph itself, as torch.func refuses hooks on saved tensors.
    """
    storages: dict[int, int] = {}
    nodes, seen = [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        for tensor in _saved(node):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _saved(node: object) -> list[Tensor]:
    """Tensors of a node: a Python function's, or those of attributes that torch calls `_saved_...`."""
    if hasattr(node, "saved_tensors"):
        return list(node.saved_tensors)
    values = [getattr(node, name) for name in dir(node) if name.startswith("_saved_")]
    flat = [each for value in values for each in (value if isinstance(value, (list, tuple)) else [value])]
    return [each for each in flat if isinstance(each, Tensor)]
