"""Convolutions against torch.nn, one picture at a time, and what is no picture."""

import dataclasses
import math

import pytest
import torch
from torch import Generator, Tensor, nn

from npcmeta import images, learners
from npcmeta.types import Action, ActionSpec, BehaviorSpec, Examples, Params

IMAGE = (18, 33, 2)
FILTERS = 12


def drawn(image: tuple[int, ...] = IMAGE) -> Params:
    generator = Generator().manual_seed(0)
    params = {key: value.double() for key, value in images.init_convolutions(generator, image, FILTERS).items()}
    for key, value in params.items():
        if not key.endswith("kernel"):
            value += 0.3 * torch.randn(value.shape, generator=generator)
    return params


def pictures(*shape: int) -> Tensor:
    return torch.rand(*shape, math.prod(IMAGE), generator=Generator().manual_seed(1), dtype=torch.float64)


def reference(params: Params, observation: Tensor) -> Tensor:
    """Features of one picture [O]."""
    x = torch.stack([observation.reshape(18, 33, 2)[..., channel] for channel in range(2)]).unsqueeze(0)
    for block in range(4):
        convolution = nn.Conv2d(x.shape[1], FILTERS, 3, padding=1, bias=False).double()
        norm = nn.GroupNorm(1, FILTERS).double()
        convolution.load_state_dict({"weight": params[f"{block}.kernel"]})
        norm.load_state_dict({"weight": params[f"{block}.scale"], "bias": params[f"{block}.shift"]})
        pooled = convolution(x) if block == 3 else nn.MaxPool2d(2)(convolution(x))
        x = nn.ReLU()(norm(pooled))
    return x.flatten().detach()


def test_every_picture_goes_through_four_blocks_of_torch_nn() -> None:
    params, observation = drawn(), pictures(3, 4)
    found = images.convolve(params, observation, IMAGE)
    assert found.shape == (3, 4, images.feature_size(IMAGE, FILTERS))
    for task in range(3):
        for row in range(4):
            expected = reference(params, observation[task, row])
            torch.testing.assert_close(found[task, row], expected, rtol=1e-10, atol=1e-10)


def test_no_pictures_have_no_features() -> None:
    assert images.convolve(drawn(), pictures(3, 0), IMAGE).shape == (3, 0, images.feature_size(IMAGE, FILTERS))


def test_fresh_convolutions_neither_vanish_nor_grow() -> None:
    params = images.init_convolutions(Generator().manual_seed(0), (28, 28), 64)
    found = images.convolve(params, torch.rand(50, 784, generator=Generator().manual_seed(1)), (28, 28))
    assert 0.1 < float(found.std()) < 3


@pytest.mark.parametrize("image", [(28,), (28, 27), (28, 28, 3), (7, 112), (7, 7, 4, 4)])
@pytest.mark.parametrize("name", ["protonet", "matching", "maml", "reptile", "cavia"])
def test_what_is_no_picture_is_refused(name: str, image: tuple[int, ...]) -> None:
    settings = dataclasses.replace(learners.settings_type(name)(), image=image)  # type: ignore[type-var]
    message = r"setting image is \[.*784 values; expected height, width .* at least 8"
    with pytest.raises(ValueError, match=message):
        settings.build(BehaviorSpec(784, ActionSpec(0, (5,)), 1.0))


@pytest.mark.parametrize("name", ["protonet", "matching"])
def test_learners_learn_pictures_from_an_example_each(name: str) -> None:
    """Three pictures, each a choice of its own, seen again with a little noise; alone, and beside another task."""
    spec = BehaviorSpec(16 * 16, ActionSpec(0, (3,)), 1.0)
    changes = {"image": (16, 16), "filters": 32, "prior_examples": 0.0}
    learner = dataclasses.replace(learners.settings_type(name)(), **changes).build(spec)  # type: ignore[type-var]
    meta, generator = learner.init(Generator().manual_seed(0)), Generator().manual_seed(1)
    meta = {key: value.double() for key, value in meta.items()}
    seen = torch.rand(2, 3, 256, generator=generator, dtype=torch.float64)
    choice = torch.tensor([[[0], [1], [2]], [[2], [0], [1]]])
    action = Action(torch.zeros(2, 3, 0), choice)
    support = Examples(seen, action, torch.ones(2, 3, 3, dtype=torch.bool), torch.ones(2, 3).double())
    state = learner.update(meta, learner.begin(meta, 2, torch.zeros(2, 0)), support)
    output = learner.predict(meta, state, seen + 0.01 * torch.randn(seen.shape, generator=generator))
    assert torch.equal(output.argmax(-1), choice.squeeze(-1))
    first = {key: value[:1] for key, value in state.items()}
    again = learner.predict(meta, first, seen[:1])
    torch.testing.assert_close(again, learner.predict(meta, state, seen)[:1], rtol=1e-10, atol=1e-10)
