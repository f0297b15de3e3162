"""What neural processes share: codes of surprise, and a decoder that a character's context scales and shifts.

An example's code is what was surprising about it, the gradient of its NLL under the unadapted policy, multiplied with
features of the observation. The context scales and shifts every hidden layer of the decoder (FiLM, Perez et al. 2018);
a context of zero, or None, leaves the unadapted policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from npcmeta import networks
from npcmeta.types import Examples, Head, Params

MAX_SURPRISE = 3.0
"""Bounds what one example can say, so that an outlier does not become a character."""


def init(generator: Generator, parts: Mapping[str, tuple[tuple[int, ...], float]]) -> Params:
    """Draws the networks of a neural process.

    Args:
        generator: Where the weights come from.
        parts: Name -> (layer sizes, scale of the last layer); "features", "surprise", "modulation" and "decoder" are
            what this module reads.
    """
    params: Params = {}
    for name, (sizes, scale) in parts.items():
        params |= networks.with_prefix(f"{name}.", networks.init_mlp(generator, sizes, last_scale=scale))
    params.pop("modulation.0.bias", None)  # a context of zero changes nothing
    return params


def encode(meta: Params, head: Head, expected: Tensor, examples: Examples, activation: str) -> Tensor:
    """The codes of examples [T, S, code], from the unadapted policy's head parameters for them [T, S, P]."""
    surprise = head.nll_gradient(expected, examples.action, examples.action_mask).clamp(-MAX_SURPRISE, MAX_SURPRISE)
    return run(meta, "features", examples.observation, activation) * run(meta, "surprise", surprise, activation)


def collect(meta: Params, head: Head, state: Params, expected: Tensor, examples: Examples, activation: str) -> Params:
    """The state's `sum` of codes [T, code] and their `count` [T, 1], with those of the examples added.

    `expected` are the unadapted policy's head parameters for the examples [T, S, P].
    """
    codes = encode(meta, head, expected, examples, activation) * examples.weight.unsqueeze(-1)
    count = examples.weight.sum(-1, keepdim=True)
    return {"sum": state["sum"] + codes.sum(-2), "count": state["count"] + count}


def summarise(state: Params, prior_examples: float) -> tuple[Tensor, Tensor]:
    """The mean code [T, code] and the share [T, 1] of the examples in it, 0 without any and 1 with infinitely many.

    `prior_examples` examples without surprise are counted in, so the mean is defined and shrunk towards the average
    character.
    """
    evidence = (state["count"] + prior_examples).clamp_min(1e-12)
    return state["sum"] / evidence, state["count"] / evidence


def decode(
    meta: Params,
    context: Tensor | None,
    observation: Tensor,
    activation: str,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """Head parameters [T, N, P] of characters with this context [T, context], or of the unadapted policy under None.

    Hidden units are left out, with the rate `dropout`, where there is a generator to choose them.
    """
    if observation.shape[1] == 1:  # as in games: a graph of rows needs no shapes
        first = first_layer(meta, observation.flatten(0, 1))
        return decode_from(meta, context, first, activation, dropout, generator).unsqueeze(1)
    return decode_from(meta, context, first_layer(meta, observation), activation, dropout, generator)


def first_layer(meta: Params, observation: Tensor) -> Tensor:
    """What the decoder's first layer says of observations, [T, N, size] or rows: the same for every context."""
    return networks.affine(networks.under_prefix("decoder.", meta), 0, observation)


def decode_from(
    meta: Params,
    context: Tensor | None,
    first: Tensor,
    activation: str,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """What `decode` returns, from what the first layer said; for rows [T, size], one of each context, it is [T, P]."""
    return _decode_with_layers(meta, context, first, activation, dropout, generator)[0]


def _decode_with_layers(
    meta: Params,
    context: Tensor | None,
    first: Tensor,
    activation: str,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """What `decode_from` returns, and of every hidden layer what it said and what the next one was given."""
    decoder = networks.under_prefix("decoder.", meta)
    function, _ = networks.ACTIVATIONS[activation]
    layers = range(networks.depth(decoder) - 1)
    modulation = [None for _ in layers] if context is None else _modulate(meta, decoder, context)
    said, seen = first, []
    for layer, change in zip(layers, modulation, strict=True):
        x = said
        if change is not None:
            scale, shift = change if x.dim() == 2 else (value.unsqueeze(-2) for value in change)
            x = x * scale + shift
        x = function(x)
        x = x if generator is None else networks.dropout(x, dropout, generator)
        seen.append((said, x))
        said = networks.affine(decoder, layer + 1, x)
    return said, seen


def run(meta: Params, part: str, x: Tensor, activation: str) -> Tensor:
    """Runs one of the networks that `init` drew."""
    return networks.forward(networks.under_prefix(f"{part}.", meta), x, activation)[0]


class _Change(NamedTuple):
    """What a context does to a hidden layer, [T, size] each."""

    scale: Tensor
    shift: Tensor


def _modulate(meta: Params, decoder: Params, context: Tensor) -> list[_Change]:
    """What a context does to each hidden layer: one product for each, as to split a large one is to write it twice."""
    weights = meta["modulation.0.weight"].split(
        [decoder[f"{i}.bias"].shape[-1] for i in range(networks.depth(decoder) - 1) for _ in _Change._fields], -1
    )
    return [
        _Change(torch.addmm(torch.ones_like(scale[0]), context, scale), context @ shift)
        for scale, shift in zip(weights[::2], weights[1::2], strict=True)
    ]


def context_gradients(
    meta: Params, head: Head, context: Tensor, first: Tensor, examples: Examples, activation: str
) -> Tensor:
    """Gradient of each example's NLL by its character's context, [T, S, context]; without autograd.

    `first` is what the first layer says of the examples.
    """
    decoder, modulation = networks.under_prefix("decoder.", meta), meta["modulation.0.weight"]
    changes = _modulate(meta, decoder, context)
    output, layers = _decode_with_layers(meta, context, first, activation)
    delta = head.nll_gradient(output, examples.action, examples.action_mask)
    _, slope = networks.ACTIVATIONS[activation]
    by_layer: list[Tensor] = []
    for layer in reversed(range(len(changes))):
        said, given = layers[layer]
        delta = (delta @ decoder[f"{layer + 1}.weight"].transpose(-1, -2)) * slope(given)
        by_layer[:0] = [delta * said, delta]
        delta = delta * changes[layer].scale.unsqueeze(-2)
    return torch.cat(by_layer, -1) @ modulation.transpose(-1, -2)
