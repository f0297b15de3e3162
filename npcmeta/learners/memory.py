"""What the learners that remember their examples share: features of an observation, and priors that count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, Tensor

from npcmeta import images, networks
from npcmeta.types import Params

MIN_PRIOR = 0.01
"""The fewest examples that a learned prior counts for, so that it alone decides where there are none."""


class Features(NamedTuple):
    """A network that all tasks share, from an observation to the inputs of a learner's last layers."""

    size: int
    init: Callable[[Generator], Params]
    run: Callable[[Params, Tensor, Generator | None], Tensor]  # (meta, [T, N, O], for dropout) -> [T, N, size]


@dataclass(frozen=True)
class MemorySettings:
    """Settings of every learner that remembers its examples."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    dropout: float = 0.1
    """Share of hidden units left out while training."""
    image: tuple[int, ...] = ()
    """Height, width and, unless it is 1, channels where observations are pictures; four blocks of convolution then take
    the place of the hidden layers."""
    filters: int = 64
    """Channels behind each block of convolution."""
    unadapted_share: float = 0.3
    """Weight of the loss without any example beside the loss with them."""


def features_of(settings: MemorySettings, observation_size: int) -> Features:
    """Hidden layers of a perceptron or, for pictures, blocks of convolution.

    Raises:
        ValueError: If the observations are not pictures of the shape in the settings.
    """
    if settings.image:
        return _picture_features(settings.image, settings.filters, observation_size)
    return _vector_features((observation_size, *settings.hidden), settings.activation, settings.dropout)


def _vector_features(sizes: tuple[int, ...], activation: networks.Activation, dropout: float) -> Features:
    function, _ = networks.ACTIVATIONS[activation]

    def init(generator: Generator) -> Params:
        return networks.with_prefix("features.", networks.init_mlp(generator, sizes, last_scale=1.0))

    def run(meta: Params, x: Tensor, generator: Generator | None) -> Tensor:
        params = networks.under_prefix("features.", meta)
        for layer in range(len(sizes) - 1):
            x = function(networks.affine(params, layer, x))
            x = x if generator is None else networks.dropout(x, dropout, generator)
        return x

    return Features(sizes[-1], init, run)


def _picture_features(image: tuple[int, ...], filters: int, observation_size: int) -> Features:
    images.check_image(image, observation_size)

    def init(generator: Generator) -> Params:
        return networks.with_prefix("features.", images.init_convolutions(generator, image, filters))

    def run(meta: Params, x: Tensor, generator: Generator | None) -> Tensor:
        return images.convolve(networks.under_prefix("features.", meta), x, image)

    return Features(images.feature_size(image, filters), init, run)


def init_linear(generator: Generator, name: str, inputs: int, outputs: int, scale: float) -> Params:
    """Weights of one layer, to be used by `linear`."""
    return networks.with_prefix(f"{name}.", networks.init_mlp(generator, (inputs, outputs), last_scale=scale))


def linear(meta: Params, name: str, x: Tensor) -> Tensor:
    """One layer of shared weights without an activation."""
    return networks.affine(networks.under_prefix(f"{name}.", meta), 0, x)


def prior_count(initial: float, raw: Tensor) -> Tensor:
    """How many examples a prior counts for: `initial` of them where the learned `raw` is 0, and always a few."""
    return MIN_PRIOR + initial * raw.exp()
