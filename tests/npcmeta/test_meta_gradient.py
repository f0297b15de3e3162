import pytest
import torch
from torch import Generator, Tensor

from npcmeta import dual, inner_loop, meta_gradient, networks
from npcmeta.dual import Descent
from npcmeta.heads import build_head
from npcmeta.meta_gradient import InnerLoop, predict_adapted
from npcmeta.types import Params
from tests import toys
from tests.npcmeta.inner_loops import CLIPS, SHOTS, STEPS, Case, build_case, query_loss

KINDS = list(toys.ACTIONS)
ACTIVATIONS = list(networks.ACTIVATIONS)
EVERY_SHOTS = pytest.mark.parametrize("shots", list(SHOTS))
EVERY_CLIP = pytest.mark.parametrize("clip", CLIPS.values(), ids=list(CLIPS))


def leaves_of(case: Case) -> Params:
    return {key: value.clone().requires_grad_() for key, value in case.shared.items()}


def by_hand(case: Case, shared: Params) -> Tensor:
    return predict_adapted(case.loop, shared, case.query.observation)


def by_autograd(case: Case, shared: Params) -> Tensor:
    """Through the ordinary operations of `dual.adapt`."""
    head, support, descent = case.loop
    layers = dual.adapt(head, dual.begin(shared, support, descent.steps), support, descent)
    return dual.predict(layers, case.query.observation, descent.activation)


def by_stacked_autograd(case: Case, shared: Params) -> Tensor:
    """Through SGD on stacked weights, which shares no code with the forms of `npcmeta.layers`."""
    head, support, (activation, rate, steps, clip) = case.loop
    states = inner_loop.sgd_steps(
        head, inner_loop.stack(shared, 3), support, activation=activation, rate=rate, steps=steps, clip=clip
    )
    return networks.forward(inner_loop.last(states), case.query.observation, activation)[0]


def gradient(case: Case, output_of: object) -> Params:
    leaves = leaves_of(case)
    loss = query_loss(case, output_of(case, leaves))  # type: ignore[operator]
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@EVERY_SHOTS
@EVERY_CLIP
def test_the_way_back_is_that_of_autograd(kind: str, activation: str, shots: str, clip: float | None) -> None:
    case = build_case(kind, shots, activation=activation, clip=clip)
    found = gradient(case, by_hand)
    toys.assert_close(found, gradient(case, by_autograd), 1e-11)
    toys.assert_close(found, gradient(case, by_stacked_autograd), 1e-11)


@pytest.mark.parametrize("kind", KINDS)
@EVERY_SHOTS
@EVERY_CLIP
def test_the_way_back_is_the_slope_of_the_way_there(kind: str, shots: str, clip: float | None) -> None:
    """Against finite differences, along random directions of all weights at once."""
    case = build_case(kind, shots, activation="tanh", clip=clip)

    def loss(*values: Tensor) -> Tensor:
        return query_loss(case, by_hand(case, dict(zip(case.shared, values, strict=True))))

    assert torch.autograd.gradcheck(loss, tuple(leaves_of(case).values()), fast_mode=True, rtol=1e-5, atol=1e-7)


def test_second_derivatives_are_in_it() -> None:
    """Otherwise the tests above could not tell it from the first-order gradient."""
    case = build_case("mixed", "few", activation="tanh")
    full, first = gradient(case, by_hand), gradient(case, first_order)
    assert all((full[key] - first[key]).abs().max() > 1e-4 for key in full)


def first_order(case: Case, shared: Params) -> Tensor:
    return predict_adapted(case.loop, shared, case.query.observation, first_order=True)


@pytest.mark.parametrize("kind", KINDS)
@EVERY_SHOTS
@EVERY_CLIP
def test_first_order_is_the_gradient_at_the_adapted_weights(kind: str, shots: str, clip: float | None) -> None:
    case = build_case(kind, shots, clip=clip)
    with torch.no_grad():
        adapted = dual.weights(meta_gradient.adapt(case.shared, case.loop))
    own = {key: value.clone().requires_grad_() for key, value in adapted.items()}
    loss = query_loss(case, networks.forward(own, case.query.observation, "relu")[0])
    at_adapted = torch.autograd.grad(loss, list(own.values()))
    expected = {key: value.sum(0) for key, value in zip(own, at_adapted, strict=True)}
    toys.assert_close(gradient(case, first_order), expected, 1e-12)


def test_first_order_predicts_with_the_adapted_weights_to_the_bit() -> None:
    case = build_case("mixed", "many")
    output = predict_adapted(case.loop, leaves_of(case), case.query.observation, first_order=True)
    assert torch.equal(output.detach(), predict_adapted(case.loop, case.shared, case.query.observation))


def test_many_tasks_are_each_alone() -> None:
    """More than are adapted together, with step sizes of their own."""
    task = toys.double_task(toys.draw_task("mixed", 70, 2, query_shots=4))
    case = build_case("mixed", "few")
    rates = torch.linspace(0.05, 0.4, 70, dtype=torch.float64)
    loop = InnerLoop(case.loop.head, task.support, Descent("relu", rates, STEPS, 0.7))
    together = predict_adapted(loop, case.shared, task.query.observation)
    for row in (0, 31, 32, 69):
        rows = slice(row, row + 1)
        support = type(task.support)(*(
            type(part)(*(each[rows] for each in part)) if isinstance(part, tuple) else part[rows]
            for part in task.support
        ))  # fmt: skip
        alone = InnerLoop(case.loop.head, support, Descent("relu", rates[rows], STEPS, 0.7))
        found = predict_adapted(alone, case.shared, task.query.observation[rows])
        torch.testing.assert_close(found, together[rows], rtol=1e-12, atol=1e-12)


def test_dropout_is_of_the_query_alone() -> None:
    case = build_case("mixed", "few")
    generator, shape = Generator().manual_seed(0), case.query.observation.shape[:-1]
    kept = [networks.draw_kept((*shape, size), 0.5, generator, torch.float64) for size in (24, 24)]
    found = predict_adapted(case.loop, case.shared, case.query.observation, kept=kept)
    weights = dual.weights(meta_gradient.adapt(case.shared, case.loop))
    expected = networks.forward_with_dropout(weights, case.query.observation, "relu", 0.5, Generator().manual_seed(0))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("what", ["rate", "observation", "weight"])
def test_derivatives_that_nobody_wrote_are_refused(what: str) -> None:
    case = build_case("mixed", "few")
    head, support, descent = case.loop
    if what == "rate":
        descent = descent._replace(rate=torch.tensor(0.1, dtype=torch.float64, requires_grad=True))
    else:
        support = support._replace(**{what: getattr(support, what).clone().requires_grad_()})
    with pytest.raises(ValueError, match="examples and step sizes are constants here"):
        predict_adapted(InnerLoop(head, support, descent), leaves_of(case), case.query.observation)


def test_less_than_half_is_kept_for_the_way_back() -> None:
    head = build_head(toys.ACTIONS["continuous"])
    shared = networks.init_mlp(Generator().manual_seed(0), (toys.OBSERVATION, 64, 64, head.num_params))
    task = toys.draw_task("continuous", 3, 5, query_shots=5)
    case = Case(shared, InnerLoop(head, task.support, Descent("relu", 0.1, 5, None)), task.query)
    assert 0 < 2 * saved_bytes(case, by_hand) < saved_bytes(case, by_stacked_autograd)


def saved_bytes(case: Case, output_of: object) -> int:
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output_of(case, leaves_of(case))  # type: ignore[operator]
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
