"""What CAVIA needs of a network that reads a context: a perceptron, or convolutions where it sees pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from npcmeta import convolutions, images, inner_loop, networks
from npcmeta.types import Examples, Head, Params

MODULATED = 2
"""The block whose channels a context scales and shifts: the third, as in the paper."""


class ModulatedNetwork(NamedTuple):
    """A network of shared weights with a context [T, c] for each task."""

    init: Callable[[Generator], Params]
    run: Callable[[Params, Tensor, Tensor, Generator | None], Tensor]  # (meta, context, [T, N, O], for dropout)
    slope: Callable[[Params, Examples], Callable[[Tensor], Tensor]]  # -> (context) -> gradient of the mean NLL by it


def perceptron(
    head: Head, sizes: tuple[int, ...], activation: networks.Activation, context: int, dropout: float
) -> ModulatedNetwork:
    """Layers of the given sizes that read the context beside the observation."""

    def init(generator: Generator) -> Params:
        params = networks.init_mlp_with_added_inputs(generator, sizes, context)
        del params["added"]  # it is the context, and begins at zero
        return params

    def run(meta: Params, context: Tensor, observation: Tensor, generator: Generator | None) -> Tensor:
        weights = meta | {"added": context}
        if generator is None:
            return networks.forward(weights, observation, activation)[0]
        return networks.forward_with_dropout(weights, observation, activation, dropout, generator)

    def slope(meta: Params, examples: Examples) -> Callable[[Tensor], Tensor]:
        def at(context: Tensor) -> Tensor:
            weights = meta | {"added": context}
            output, inputs = networks.forward(weights, examples.observation, activation)
            gradient = inner_loop.output_gradient(head, output, examples)
            return networks.backward_to_added_inputs(weights, inputs, gradient, activation)

        return at

    return ModulatedNetwork(init, run, slope)


def of_pictures(
    head: Head, image: tuple[int, ...], filters: int, context: int, observation_size: int
) -> ModulatedNetwork:
    """Four blocks of convolution, the third scaled and shifted by the context (FiLM, Perez et al. 2018).

    Raises:
        ValueError: If the observations are not pictures of this shape.
    """
    images.check_image(image, observation_size)
    before, behind = range(MODULATED), range(MODULATED, images.BLOCKS)

    def init(generator: Generator) -> Params:
        params = convolutions.init_network(generator, image, filters, head.num_params)
        drawn = torch.rand(context, 2 * filters, generator=generator)
        return params | {"modulation": drawn.mul_(2).sub_(1).mul_(math.sqrt(6 / context))}

    def modulated(meta: Params, context: Tensor) -> Params:
        scale, shift = (context @ meta["modulation"]).chunk(2, -1)
        names = f"{MODULATED}.scale", f"{MODULATED}.shift"
        return meta | {names[0]: meta[names[0]] + scale, names[1]: meta[names[1]] + shift}

    def read(meta: Params, observation: Tensor) -> Tensor:
        return convolutions.run_blocks(meta, convolutions.as_pictures(observation, image), before)[0]

    def run(meta: Params, context: Tensor, observation: Tensor, generator: Generator | None) -> Tensor:
        weights = modulated(meta, context)
        x, _ = convolutions.run_blocks(weights, read(meta, observation), behind)
        return convolutions.last_layer(weights, x)

    def slope(meta: Params, examples: Examples) -> Callable[[Tensor], Tensor]:
        seen = read(meta, examples.observation)  # no context changes it

        def at(context: Tensor) -> Tensor:
            weights = modulated(meta, context)
            x, traces = convolutions.run_blocks(weights, seen, behind)
            gradient = inner_loop.output_gradient(head, convolutions.last_layer(weights, x), examples)
            slopes = convolutions.backward(weights, traces, gradient)
            moves = torch.cat([slopes[f"{MODULATED}.scale"], slopes[f"{MODULATED}.shift"]], -1)
            return moves @ meta["modulation"].transpose(-1, -2)

        return at

    return ModulatedNetwork(init, run, slope)
