"""Inner loops to test with: shapes with every form of a layer, ragged support sets, a step size for each task."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from npcmeta import dual, networks
from npcmeta.dual import Descent
from npcmeta.heads import build_head
from npcmeta.layers import FirstLayer, HistoryLayer, StackedLayer
from npcmeta.meta_gradient import InnerLoop
from npcmeta.types import Examples, Params
from tests import toys

HIDDEN, STEPS = (24, 24), 4
SHOTS = {"few": 2, "many": 9}
FORMS = {"few": [FirstLayer, HistoryLayer, StackedLayer], "many": [StackedLayer] * 3}
"""The forms that layers of these sizes have with so many shots."""
CLIPS = {"unclipped": None, "some clipped": 0.7}
WEIGHTS = ((0.0, 0.0), (1.0, 0.0), (0.5, 2.0))
"""Of the first two examples of three tasks: no example, one, and two that do not count the same."""


class Case(NamedTuple):
    """Three tasks, and what to adapt to them."""

    shared: Params
    loop: InnerLoop
    query: Examples


def build_case(kind: str, shots: str, *, activation: str = "relu", clip: float | None = None) -> Case:
    head = build_head(toys.ACTIONS[kind])
    sizes = (toys.OBSERVATION, *HIDDEN, head.num_params)
    shared = toys.double_params(networks.init_mlp(Generator().manual_seed(0), sizes))
    task = toys.double_task(toys.draw_task(kind, 3, SHOTS[shots], query_shots=5))
    weight = torch.ones(3, SHOTS[shots], dtype=torch.float64)
    weight[:, :2] = torch.tensor(WEIGHTS)
    weight[:2, 2:] = 0
    rates = torch.tensor([0.01, 0.03, 0.02], dtype=torch.float64)
    loop = InnerLoop(head, task.support._replace(weight=weight), Descent(activation, rates, STEPS, clip))
    assert [type(layer) for layer in dual.begin(shared, loop.support, STEPS)] == FORMS[shots]
    return Case(shared, loop, task.query)


def query_loss(case: Case, output: Tensor) -> Tensor:
    return case.loop.head.nll(output, case.query.action, case.query.action_mask).mean()
