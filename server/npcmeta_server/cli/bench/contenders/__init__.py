"""Who takes part in the inner loop's benchmark: npcmeta, ways to write it in torch, and libraries.

Each is a function of a problem that gives two more, ready to be called and measured again and again:
`first_order()` are the predictions after adapting, [T, Q, P], without any derivative by the shared weights;
`second_order()` is the meta-loss of all tasks, from which `meta_gradient(loss)` goes back to the shared weights.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from npcmeta.types import Params
from npcmeta_server.cli.bench.works import Problem


class Ready(NamedTuple):
    """A contender set up for one problem."""

    first_order: Callable[[], Tensor]
    second_order: Callable[[], Tensor]
    meta_gradient: Callable[[Tensor], Params]  # with npcmeta's keys and shapes


class Contender(NamedTuple):
    """One line of the table."""

    name: str
    kind: str  # ours, torch (written by hand in it) or library
    module: str  # beside this one
    function: str
    packages: tuple[str, ...] = ()  # that have to be installed

    def prepare(self, problem: Problem) -> Ready:
        """Sets the contender up for a problem."""
        function = getattr(importlib.import_module(f"{__name__}.{self.module}"), self.function)
        ready: Ready = function(problem)
        return ready


CONTENDERS = (
    Contender("npcmeta", "ours", "ours", "prepare"),
    Contender("stacked weights, autograd", "torch", "stacked", "prepare"),
    Contender("torch.func.grad, one by one", "library", "functional", "one_by_one"),
    Contender("torch.func.vmap(grad)", "library", "functional", "vectorised"),
    Contender("higher, one by one", "library", "higher_loop", "prepare", ("higher",)),
    Contender("torchopt, one by one", "library", "torchopt_loop", "one_by_one", ("torchopt",)),
    Contender("torchopt, vmap over tasks", "library", "torchopt_loop", "vectorised", ("torchopt",)),
)
