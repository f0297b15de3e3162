"""The inner loop: gradient steps on stacked weights, one set for each task, without autograd or `vmap`.

The loss of a task is `sum(w * nll) / sum(w)`; a support set of weight zero has gradient zero, so it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from npcmeta import networks
from npcmeta.types import Examples, Head, Params

Steps = Callable[[Params, Params, Examples], Iterator[Params]]
Update = Callable[[Params, Params, Examples], Params]
"""As in `Learner`: from meta-parameters, a state and examples to the states on the way, or to the last one."""


def support_gradient(
    head: Head, weights: Params, examples: Examples, activation: str, clip: float | None = None
) -> Params:
    """Gradient of every task's weighted mean NLL by its own weights.

    Args:
        head: Turns outputs into a likelihood.
        weights: Stacked weights of an MLP, [T, in, out] and [T, out].
        examples: The support sets.
        activation: The MLP's activation.
        clip: Largest gradient norm of one task; None leaves gradients as they are.
    """
    output, inputs = networks.forward(weights, examples.observation, activation)
    gradients = networks.backward(weights, inputs, output_gradient(head, output, examples), activation)
    return gradients if clip is None else clip_per_task(gradients, clip)


def total_weight(examples: Examples) -> Tensor:
    """Sum of each task's weights [T, 1], never quite zero, so that an empty support set divides 0 by it."""
    return examples.weight.sum(-1, keepdim=True).clamp_min(1e-12)


def clip_per_task(gradients: Params, limit: float) -> Params:
    """Scales down the gradients of every task whose norm over all keys exceeds `limit`."""
    squares = torch.stack([g.square().flatten(1).sum(-1) for g in gradients.values()]).sum(0)
    scale = limit * torch.rsqrt(squares.clamp_min(limit * limit))
    return {key: g * along_tasks(scale, g) for key, g in gradients.items()}


def sgd_steps(
    head: Head,
    weights: Params,
    examples: Examples,
    *,
    activation: str,
    rate: float | Tensor,
    steps: int,
    clip: float | None,
) -> Iterator[Params]:
    """Plain SGD on the support sets; yields the weights before the first step and after each one.

    The step size `rate` is a number, or one for each task [T]. `npcmeta/dual.py` is faster on all layers of an MLP.
    """

    def gradient(weights: Params) -> Params:
        return support_gradient(head, weights, examples, activation)

    rate = torch.as_tensor(rate, dtype=examples.weight.dtype)
    return descend(gradient, weights, rate=rate, steps=steps, clip=clip)


def descend(
    gradient: Callable[[Params], Params], weights: Params, *, rate: Tensor, steps: int, clip: float | None
) -> Iterator[Params]:
    """Plain SGD on the support sets; yields the weights before the first step and after each one.

    Args:
        gradient: From weights to the gradient of every task's support loss by them.
        weights: Where to begin, [T, ...] for each key.
        rate: Step size, a number or one for each task [T].
        steps: How many.
        clip: Largest gradient norm of one task; None leaves gradients as they are.
    """
    pace = -rate
    yield weights
    for _ in range(steps):
        gradients = gradient(weights)
        gradients = gradients if clip is None else clip_per_task(gradients, clip)
        weights = {
            key: torch.addcmul(value, gradients[key], along_tasks(pace, value)) for key, value in weights.items()
        }
        yield weights


def gradient_steps(
    gradient: Callable[[Params], Params], state: Params, rates: Params, *, steps: int, clip: float | None
) -> Iterator[Params]:
    """Gradient descent on whatever a state holds; yields the state before the first step and after each one.

    Args:
        gradient: From a state to the gradient of every task's support loss, [T, ...] for each key.
        state: Where to begin.
        rates: Step sizes of each key; they broadcast to the state's shape.
        steps: How many.
        clip: Largest gradient norm of one task; None leaves gradients as they are.
    """
    yield state
    for _ in range(steps):
        slopes = gradient(state)
        slopes = slopes if clip is None else clip_per_task(slopes, clip)
        state = {key: value - rates[key] * slopes[key] for key, value in state.items()}
        yield state


def output_gradient(head: Head, output: Tensor, examples: Examples) -> Tensor:
    """Gradient of every task's weighted mean NLL by its head parameters [T, S, P]."""
    share = examples.weight / total_weight(examples)
    return head.nll_gradient(output, examples.action, examples.action_mask) * share.unsqueeze(-1)


def step_size(rate: float, prior_examples: float | Tensor, shots: Tensor) -> Tensor:
    """Step size for each task [T] from its number of examples [T]: `rate`, less where the prior outweighs them.

    `prior_examples` is one number, or one for each task [T].
    """
    return rate * shots / (shots + prior_examples).clamp_min(1e-12)


def adam_steps(
    head: Head, weights: Params, examples: Examples, *, activation: str, rate: float, steps: Tensor
) -> Iterator[Params]:
    """Adam (Kingma and Ba 2015, algorithm 1) with a number of steps for each task.

    Args:
        head: Turns outputs into a likelihood.
        weights: Stacked weights of an MLP.
        examples: The support sets.
        activation: The MLP's activation.
        rate: Step size.
        steps: [T] int64. A task that has made its steps stays as it is, to the bit.
    """
    first = {key: torch.zeros_like(value) for key, value in weights.items()}
    second = {key: torch.zeros_like(value) for key, value in weights.items()}
    yield weights
    for step in range(1, max(steps.tolist(), default=0) + 1):
        gradients = support_gradient(head, weights, examples, activation)
        running = steps >= step
        for key, g in gradients.items():
            first[key] = 0.9 * first[key] + 0.1 * g
            second[key] = 0.999 * second[key] + 0.001 * g.square()
        moved = {key: value - rate * _adam_direction(first[key], second[key], step) for key, value in weights.items()}
        weights = {key: torch.where(along_tasks(running, value), moved[key], value) for key, value in weights.items()}
        yield weights


def last(states: Iterator[Params]) -> Params:
    """The state behind the last step."""
    state: Params = {}
    for reached in states:
        state = reached
    return state


def to_the_end(steps: Steps) -> Update:
    """`Learner.update` of an inner loop: the state behind the last of its steps."""
    return lambda meta, state, examples: last(steps(meta, state, examples))


def at_once(update: Update) -> Steps:
    """`Learner.steps` of an inner loop of a single step."""

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        yield state
        yield update(meta, state, examples)

    return steps


def always(steps: int) -> Callable[[Tensor], Tensor]:
    """`Learner.num_steps` of an inner loop of so many steps, however many examples there are; without any, none."""
    return lambda shots: steps * (shots > 0).to(torch.int64)


def stack(shared: Params, num_tasks: int) -> Params:
    """Gives each of `num_tasks` tasks its own copy of shared weights."""
    return {key: value.unsqueeze(0).expand(num_tasks, *value.shape) for key, value in shared.items()}


def moved_layer(meta: Params, state: Params, layer: str) -> Tensor:
    """How far the weights of a layer are from the shared ones, [T, in * out]: 0 for an unadapted character."""
    return (state[f"{layer}weight"] - meta[f"{layer}weight"]).flatten(1)


def along_tasks(per_task: Tensor, like: Tensor) -> Tensor:
    """Reshapes [T] so that it broadcasts along the task axis of `like` [T, ...]."""
    return per_task.reshape(-1, *[1] * (like.dim() - 1))


def _adam_direction(first: Tensor, second: Tensor, step: int) -> Tensor:
    return first / (1 - 0.9**step) / (torch.sqrt(second / (1 - 0.999**step)) + 1e-8)
