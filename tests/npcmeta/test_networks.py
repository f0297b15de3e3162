import math

import pytest
import torch
from torch import Generator, nn

from npcmeta import networks
from npcmeta.inner_loop import stack
from npcmeta.types import Params
from tests import toys

SIZES = (3, 7, 5, 2)


def drawn(num_tasks: int) -> Params:
    """Weights of a network for each task, in float64."""
    each = [networks.init_mlp(Generator().manual_seed(i), SIZES, last_scale=1.0) for i in range(num_tasks)]
    return {key: torch.stack([params[key] for params in each]).double() for key in each[0]}


def reference(params: Params, activation: str) -> nn.Sequential:
    """The same network of torch.nn, from the weights of one task."""
    layers: list[nn.Module] = []
    for i in range(len(SIZES) - 1):
        linear = nn.Linear(SIZES[i], SIZES[i + 1]).double()
        linear.load_state_dict({"weight": params[f"{i}.weight"].T, "bias": params[f"{i}.bias"]})
        layers += [linear, nn.Tanh() if activation == "tanh" else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_forward_is_torch_nn_for_every_task(activation: str) -> None:
    params, x = drawn(4), torch.randn(4, 6, 3, generator=Generator().manual_seed(0), dtype=torch.float64)
    output, inputs = networks.forward(params, x, activation)
    assert [tuple(i.shape) for i in inputs] == [(4, 6, size) for size in SIZES[:-1]]
    for task in range(4):
        expected = reference({key: value[task] for key, value in params.items()}, activation)(x[task])
        torch.testing.assert_close(output[task], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_shared_and_stacked_weights_are_one(activation: str) -> None:
    shared = {key: value[0] for key, value in drawn(1).items()}
    x = torch.randn(4, 6, 3, generator=Generator().manual_seed(0), dtype=torch.float64)
    stacked = networks.forward(stack(shared, 4), x, activation)[0]
    torch.testing.assert_close(networks.forward(shared, x, activation)[0], stacked, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_backward_is_autograd(activation: str) -> None:
    generator = Generator().manual_seed(0)
    params = {key: value.requires_grad_() for key, value in drawn(4).items()}
    x = torch.randn(4, 6, 3, generator=generator, dtype=torch.float64)
    direction = torch.randn(4, 6, 2, generator=generator, dtype=torch.float64)
    output, inputs = networks.forward(params, x, activation)
    expected = torch.autograd.grad((output * direction).sum(), list(params.values()))
    found = networks.backward(params, inputs, direction, activation)
    toys.assert_close(found, dict(zip(params, expected, strict=True)), 1e-12)


def with_added_inputs(num_tasks: int) -> Params:
    """The networks of `drawn` with two added inputs each, in float64."""
    generator = Generator().manual_seed(5)
    added, weight = torch.randn(num_tasks, 2, generator=generator), torch.randn(num_tasks, 2, 7, generator=generator)
    return drawn(num_tasks) | {"added": added.double(), "added_weight": weight.double()}


@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_added_inputs_are_inputs_that_every_example_has(activation: str) -> None:
    params, x = with_added_inputs(4), torch.randn(4, 6, 3, generator=Generator().manual_seed(0), dtype=torch.float64)
    wider = {key: value for key, value in params.items() if not key.startswith("added")}
    wider["0.weight"] = torch.cat([params["0.weight"], params["added_weight"]], -2)
    expected = networks.forward(wider, torch.cat([x, params["added"].unsqueeze(1).expand(4, 6, 2)], -1), activation)[0]
    torch.testing.assert_close(networks.forward(params, x, activation)[0], expected, rtol=1e-12, atol=1e-12)
    without_dropout = networks.forward_with_dropout(params, x, activation, 0.0, Generator())
    torch.testing.assert_close(without_dropout, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "shared", [(), ("0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "added_weight")]
)
@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_backward_to_added_inputs_is_autograd(activation: str, shared: tuple[str, ...]) -> None:
    params = {key: value[0] if key in shared else value for key, value in with_added_inputs(4).items()}
    params = {key: value.detach().requires_grad_() for key, value in params.items()}
    generator = Generator().manual_seed(0)
    x = torch.randn(4, 6, 3, generator=generator, dtype=torch.float64)
    direction = torch.randn(4, 6, 2, generator=generator, dtype=torch.float64)
    output, inputs = networks.forward(params, x, activation)
    expected = dict(zip(params, torch.autograd.grad((output * direction).sum(), list(params.values())), strict=True))
    alone = networks.backward_to_added_inputs(params, inputs, direction, activation)
    torch.testing.assert_close(alone, expected["added"], rtol=1e-12, atol=1e-12)
    if not shared:
        toys.assert_close(networks.backward(params, inputs, direction, activation), expected, 1e-12)


def test_without_added_inputs_the_same_weights_are_drawn() -> None:
    plain = networks.init_mlp(Generator().manual_seed(3), SIZES)
    toys.assert_same_bits(networks.init_mlp_with_added_inputs(Generator().manual_seed(3), SIZES, 0), plain)
    more = networks.init_mlp_with_added_inputs(Generator().manual_seed(3), SIZES, 4)
    assert {key: tuple(more[key].shape) for key in ("0.weight", "added_weight", "added")} == {
        "0.weight": (3, 7),
        "added_weight": (4, 7),
        "added": (4,),
    }
    assert not more["added"].any()
    assert more["added_weight"].abs().min() > 0


def test_untrained_weights() -> None:
    params = networks.init_mlp(Generator().manual_seed(0), (100, 200, 50), last_scale=0.1)
    assert {key: tuple(value.shape) for key, value in params.items()} == {
        "0.weight": (100, 200), "0.bias": (200,), "1.weight": (200, 50), "1.bias": (50,),
    }  # fmt: skip
    assert networks.depth(params) == 2
    for layer, scale in ((0, 1.0), (1, 0.1)):
        weight = params[f"{layer}.weight"]
        he = math.sqrt(2 / weight.shape[0]) * scale
        assert abs(float(weight.std()) / he - 1) < 0.03
        assert weight.abs().max() <= he * math.sqrt(3)
        assert not params[f"{layer}.bias"].any()


def test_dropout_keeps_the_mean_and_follows_its_generator() -> None:
    x = torch.ones(2, 50_000)
    dropped = networks.dropout(x, 0.2, Generator().manual_seed(0))
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert abs(float(dropped.mean()) - 1) < 0.01
    assert torch.equal(dropped, networks.dropout(x, 0.2, Generator().manual_seed(0)))
    params, x = drawn(2), torch.randn(2, 4, 3, generator=Generator().manual_seed(0), dtype=torch.float64)
    still = networks.forward_with_dropout(params, x, "relu", 0.0, Generator())
    assert torch.equal(still, networks.forward(params, x, "relu")[0])
    shaken = networks.forward_with_dropout(params, x, "relu", 0.5, Generator().manual_seed(1))
    assert not torch.equal(shaken, still)


def test_prefixes_come_and_go() -> None:
    params = {"0.weight": torch.zeros(1), "0.bias": torch.ones(1)}
    both = networks.with_prefix("encoder.", params) | networks.with_prefix("decoder.", {"0.bias": torch.zeros(2)})
    assert list(both) == ["encoder.0.weight", "encoder.0.bias", "decoder.0.bias"]
    assert networks.under_prefix("encoder.", both) == params
