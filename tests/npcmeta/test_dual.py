import pytest
import torch
from torch import Tensor

from npcmeta import dual, inner_loop, networks
from npcmeta.dual import Descent, smaller_as_history
from npcmeta.evaluate import take_examples
from npcmeta.layers import StackedLayer
from npcmeta.types import Examples, Params
from tests import toys
from tests.npcmeta.inner_loops import CLIPS, SHOTS, STEPS, Case, build_case

KINDS = list(toys.ACTIONS)
ACTIVATIONS = list(networks.ACTIVATIONS)
EVERY_SHOTS = pytest.mark.parametrize("shots", list(SHOTS))
EVERY_CLIP = pytest.mark.parametrize("clip", CLIPS.values(), ids=list(CLIPS))


def adapt(case: Case) -> list[dual.Layer]:
    layers = dual.begin(case.shared, case.loop.support, case.loop.descent.steps)
    return dual.adapt(case.loop.head, layers, case.loop.support, case.loop.descent)


def reference(case: Case, task: int) -> Params:
    """The adapted weights of one task by autograd, as the papers write it."""
    head, support, descent = case.loop
    alone = take_examples(support, slice(task, task + 1))
    weights = {key: value.clone() for key, value in case.shared.items()}
    for _ in range(descent.steps if alone.weight.sum() > 0 else 0):
        leaves = {key: value.requires_grad_() for key, value in weights.items()}
        output = networks.forward(leaves, alone.observation, descent.activation)[0]
        nll = head.nll(output, alone.action, alone.action_mask)
        gradients = torch.autograd.grad((nll * alone.weight).sum() / alone.weight.sum(), list(leaves.values()))
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        rate = descent.rate[task] * (1 if descent.clip is None else min(1.0, descent.clip / float(norm)))  # type: ignore[index]
        weights = {k: v.detach() - rate * g for (k, v), g in zip(leaves.items(), gradients, strict=True)}
    return weights


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@EVERY_SHOTS
@EVERY_CLIP
def test_every_task_goes_where_autograd_leads(kind: str, activation: str, shots: str, clip: float | None) -> None:
    case = build_case(kind, shots, activation=activation, clip=clip)
    built = dual.weights(adapt(case))
    for task in range(3):
        toys.assert_close({key: value[task] for key, value in built.items()}, reference(case, task), 1e-12)


def test_the_cases_are_clipped_and_unclipped() -> None:
    """Otherwise the tests of clipping could not fail."""
    case = build_case("mixed", "few", clip=CLIPS["some clipped"])
    layers = dual.begin(case.shared, case.loop.support, STEPS)
    scales = [step.scale for step in dual.run(case.loop.head, layers, case.loop.support, case.loop.descent)]
    clipped = torch.cat([scale.flatten() < 1 for scale in scales if scale is not None])
    assert clipped.any()
    assert not clipped.all()


@pytest.mark.parametrize("kind", KINDS)
@EVERY_SHOTS
@EVERY_CLIP
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_it_is_sgd_on_stacked_weights(
    kind: str, shots: str, clip: float | None, dtype: torch.dtype, tolerance: float
) -> None:
    case = in_precision(build_case(kind, shots, clip=clip), dtype)
    head, support, descent = case.loop
    states = inner_loop.sgd_steps(
        head, inner_loop.stack(case.shared, 3), support,
        activation=descent.activation, rate=descent.rate, steps=descent.steps, clip=clip,
    )  # fmt: skip
    stacked, layers = inner_loop.last(states), adapt(case)
    toys.assert_close(dual.weights(layers), stacked, tolerance)
    expected = networks.forward(stacked, case.query.observation, "relu")[0]
    found = dual.predict(layers, case.query.observation, "relu")
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def in_precision(case: Case, dtype: torch.dtype) -> Case:
    def converted(examples: Examples) -> Examples:
        action = examples.action._replace(continuous=examples.action.continuous.to(dtype))
        return examples._replace(
            observation=examples.observation.to(dtype), action=action, weight=examples.weight.to(dtype)
        )

    loop = case.loop._replace(support=converted(case.loop.support))
    return Case({key: value.to(dtype) for key, value in case.shared.items()}, loop, converted(case.query))


@EVERY_SHOTS
@EVERY_CLIP
def test_a_task_without_examples_stays_as_it_is_to_the_bit(shots: str, clip: float | None) -> None:
    case = in_precision(build_case("mixed", shots, clip=clip), torch.float32)
    support = case.loop.support
    case = case._replace(loop=case.loop._replace(support=support._replace(observation=support.observation * 100)))
    layers = adapt(case)
    toys.assert_same_bits({key: value[0] for key, value in dual.weights(layers).items()}, case.shared)
    nobody = case.loop.support._replace(weight=torch.zeros_like(case.loop.support.weight))
    unadapted = adapt(case._replace(loop=case.loop._replace(support=nobody)))
    outputs = [dual.predict(each, case.query.observation, "relu") for each in (layers, unadapted)]
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert not torch.equal(outputs[0][1], outputs[1][1])


def test_no_support_examples_at_all() -> None:
    case = build_case("mixed", "few", clip=1.0)
    empty = toys.double(toys.draw_task("mixed", 3, 0).support)
    built = dual.weights(adapt(case._replace(loop=case.loop._replace(support=empty))))
    toys.assert_same_bits(built, inner_loop.stack(case.shared, 3))


@EVERY_SHOTS
def test_states_lead_to_what_adapting_makes_to_the_bit_and_stay_valid(shots: str) -> None:
    case = build_case("mixed", shots, clip=0.7)
    head, support, descent = case.loop
    start = inner_loop.stack(case.shared, 3)
    states, copies = [], []
    for state in dual.sgd_states(head, start, support, descent):
        states.append(state)
        copies.append({key: value.clone() for key, value in state.items()})
    assert len(states) == STEPS + 1
    for state, copy in zip(states, copies, strict=True):
        toys.assert_same_bits(state, copy)
    reached = dual.weights(dual.adapt(head, dual.begin_from(start, support, STEPS), support, descent))
    toys.assert_same_bits(reached, states[-1])
    toys.assert_same_bits(dual.weights(adapt(case)), states[-1])


@EVERY_SHOTS
def test_an_adapted_state_is_adapted_further_and_left_as_it_was(shots: str) -> None:
    case = build_case("mixed", shots, clip=0.7)
    head, support, descent = case.loop
    once = dual.weights(adapt(case))
    kept = {key: value.clone() for key, value in once.items()}
    layers = dual.begin_from(once, support, STEPS)
    twice = dual.weights(dual.adapt(head, layers, support, descent))
    toys.assert_same_bits(once, kept)
    at_once = adapt(case._replace(loop=case.loop._replace(descent=descent._replace(steps=2 * STEPS))))
    toys.assert_close(twice, dual.weights(at_once), 1e-12)


def test_weights_that_tasks_share_are_known_by_their_strides() -> None:
    case = build_case("mixed", "few")
    begun = dual.begin_from(inner_loop.stack(case.shared, 3), case.loop.support, STEPS)
    own = {key: value.contiguous() for key, value in inner_loop.stack(case.shared, 3).items()}
    theirs = dual.begin_from(own, case.loop.support, STEPS)
    assert [type(layer) for layer in begun] == [type(layer) for layer in theirs]
    assert any(not isinstance(layer, StackedLayer) for layer in begun)
    for layer, other in zip(begun, theirs, strict=True):
        if not isinstance(layer, StackedLayer):
            assert (layer.weight.dim(), other.weight.dim()) == (2, 3)


def test_a_layer_is_in_the_form_of_fewer_numbers() -> None:
    assert smaller_as_history(127, 256, 256)
    assert not smaller_as_history(128, 256, 256)
    assert not smaller_as_history(50, 256, 16)


@pytest.mark.filterwarnings("ignore")  # as the exporter, which uses this tracer
@EVERY_SHOTS
def test_a_tracer_sees_nothing_that_it_cannot_follow(shots: str) -> None:
    """The graph made from one support set computes what the functions do on another."""
    case = build_case("mixed", shots, clip=0.7)
    head, support, descent = case.loop

    def predict(observation: Tensor, query: Tensor) -> Tensor:
        examples = support._replace(observation=observation)
        layers = dual.adapt(head, dual.begin(case.shared, examples, STEPS), examples, descent)
        return dual.predict(layers, query, "relu")

    traced = torch.jit.trace(predict, (support.observation, case.query.observation), check_trace=False)
    other = support.observation.flip(0) * 1.5, case.query.observation.flip(0)
    torch.testing.assert_close(traced(*other), predict(*other), rtol=1e-12, atol=1e-12)


def test_a_number_is_a_step_size_of_all_tasks() -> None:
    case = build_case("mixed", "few")
    number, each = (
        dual.weights(adapt(case._replace(loop=case.loop._replace(descent=Descent("relu", rate, STEPS, None)))))
        for rate in (0.2, torch.full((3,), 0.2, dtype=torch.float64))
    )
    toys.assert_same_bits(number, each)
