"""What learners need of a network whose every weight adapts: a perceptron, or convolutions where it sees pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from torch import Generator, Tensor

from npcmeta import convolutions, images, inner_loop, networks
from npcmeta.types import Examples, Head, Params

if TYPE_CHECKING:
    from npcmeta.learners.maml import MamlSettings
    from npcmeta.learners.reptile import ReptileSettings


class AdaptedNetwork(NamedTuple):
    """A network on weights that tasks share, or on each task's own."""

    init: Callable[[Generator], Params]
    run: Callable[[Params, Tensor, Generator | None], Tensor]  # (weights, [T, N, O], for dropout) -> [T, N, P]
    gradient: Callable[[Params, Examples], Params]  # (each task's own weights, examples) -> of its mean NLL
    last: str  # prefix of the last layer


def perceptron(
    head: Head, sizes: tuple[int, ...], activation: networks.Activation, *, dropout: float = 0.0, added: int = 0
) -> AdaptedNetwork:
    """Layers of the given sizes, with so many added inputs and so much dropout behind hidden layers."""

    def init(generator: Generator) -> Params:
        return networks.init_mlp_with_added_inputs(generator, sizes, added)

    def run(weights: Params, observation: Tensor, generator: Generator | None) -> Tensor:
        if generator is None:
            return networks.forward(weights, observation, activation)[0]
        return networks.forward_with_dropout(weights, observation, activation, dropout, generator)

    def gradient(weights: Params, examples: Examples) -> Params:
        return inner_loop.support_gradient(head, weights, examples, activation)

    return AdaptedNetwork(init, run, gradient, f"{len(sizes) - 2}.")


def of_pictures(head: Head, image: tuple[int, ...], filters: int, observation_size: int) -> AdaptedNetwork:
    """Four blocks of convolution and a linear layer, without dropout.

    Raises:
        ValueError: If the observations are not pictures of this shape.
    """
    images.check_image(image, observation_size)

    def init(generator: Generator) -> Params:
        return convolutions.init_network(generator, image, filters, head.num_params)

    def run(weights: Params, observation: Tensor, generator: Generator | None) -> Tensor:
        return convolutions.forward(weights, observation, image)[0]

    def gradient(weights: Params, examples: Examples) -> Params:
        output, traces = convolutions.forward(weights, examples.observation, image)
        return convolutions.backward(weights, traces, inner_loop.output_gradient(head, output, examples))

    return AdaptedNetwork(init, run, gradient, convolutions.LAST)


def descend(
    settings: MamlSettings | ReptileSettings, network: AdaptedNetwork, weights: Params, examples: Examples, steps: int
) -> Iterator[Params]:
    """SGD steps on the support sets, of the length and clipped as the settings say."""
    return inner_loop.descend(
        lambda weights: network.gradient(weights, examples),
        weights,
        rate=inner_loop.step_size(settings.inner_rate, settings.prior_examples, examples.weight.sum(-1)),
        steps=steps,
        clip=settings.inner_clip or None,
    )
