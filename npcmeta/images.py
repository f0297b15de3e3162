"""Pictures as observations: four blocks of convolution in front of whatever a learner does with vectors.

A picture is an observation of height x width x channels numbers, row by row, the channels of a pixel side by side.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from npcmeta.types import Params

BLOCKS, POOLED = 4, 3
"""How many blocks there are, and behind how many of them a picture has half as many pixels a side."""
MIN_SIDE = 2**POOLED


def check_image(image: tuple[int, ...], observation_size: int) -> None:
    """Raises ValueError unless pictures of this shape (height, width[, channels]) are such observations."""
    if len(image) not in (2, 3) or math.prod(image) != observation_size or min(image[:2]) < MIN_SIDE:
        raise ValueError(
            f"setting image is {list(image)} and observations have {observation_size} values; expected height, width "
            f"and, if there is more than one, channels, whose product is {observation_size}, "
            f"height and width at least {MIN_SIDE}"
        )


def feature_size(image: tuple[int, ...], filters: int) -> int:
    """How many numbers `convolve` puts out for a picture."""
    return filters * (image[0] // MIN_SIDE) * (image[1] // MIN_SIDE)


def init_convolutions(generator: Generator, image: tuple[int, ...], filters: int) -> Params:
    """Draws `{i}.kernel` [out, in, 3, 3], He-scaled uniform, and `{i}.scale` and `{i}.shift` [out] of each block."""
    params: Params = {}
    channels = image[2] if len(image) == 3 else 1
    for block in range(BLOCKS):
        bound = math.sqrt(6 / (9 * channels))
        kernel = torch.rand(filters, channels, 3, 3, generator=generator)
        params[f"{block}.kernel"] = kernel.mul_(2).sub_(1).mul_(bound)
        params[f"{block}.scale"] = torch.ones(filters)
        params[f"{block}.shift"] = torch.zeros(filters)
        channels = filters
    return params


def convolve(params: Params, observation: Tensor, image: tuple[int, ...]) -> Tensor:
    """Features [.., F] of pictures [.., O].

    Each block is a 3 x 3 convolution, 2 x 2 max-pooling, a normalisation and a rectifier: the one of Vinyals et al.
    2016 and Snell et al. 2017, but for three things. The normalisation is over all that the block makes of one picture
    (Ba et al. 2016, Wu and He 2018) and not over a batch, so that what is made of a picture never depends on its
    neighbours. Pooling comes before it, which leaves a quarter of the numbers to normalise. The last block does not
    pool: which stroke is where still matters to what comes behind it.
    """
    height, width, channels = (*image, 1)[:3]
    x = observation.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
    for block in range(BLOCKS):
        x = functional.conv2d(channels_last(x), channels_last(params[f"{block}.kernel"]), padding=1)
        x = functional.max_pool2d(x, 2) if block < POOLED else x
        x = torch.relu(functional.group_norm(x, 1, params[f"{block}.scale"], params[f"{block}.shift"]))
    return x.reshape(*observation.shape[:-1], math.prod(x.shape[1:]))


def channels_last(x: Tensor) -> Tensor:
    """The same values in the order in memory that convolutions on a CPU are twice as fast with."""
    return x.contiguous(memory_format=torch.channels_last)
