"""Hierarchical Bayes on learned features: the average policy, and a posterior of how a character differs from it.

The default. Adapting is a closed form (or six fixed steps down a bound), so it takes a millisecond, and it moves a
character only as far as its examples are evidence: without any, it is the average policy itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks, neural_process, posterior
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task

POSTERIOR_SHARE = 0.25
"""Weight of the loss that teaches the posterior; small, so that clipping the gradient does not slow the rest."""
TYPICAL_SHOTS = 50.0
"""Where the learned exponent of the tempering turns."""


@dataclass(frozen=True)
class BayesSettings:
    """Settings of hierarchical Bayes."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers."""
    members: int = 2
    """How many networks are averaged."""
    features: int = 64
    """Features of an observation in which a character differs from the average."""
    inner_steps: int = 6
    """Steps of the inner loop, M."""
    tempering: float = 0.2
    """What an example counts for before training learns it: play is autocorrelated."""
    context: int = 0
    """Size of a context vector, guessed from all examples, that changes the networks themselves; 0 for none. Pays with
    hundreds of training characters."""
    encoder: tuple[int, ...] = (128,)
    """Sizes of the encoder's hidden layers, if there is a context."""
    code: int = 128
    """Size of the code of an example, if there is a context."""
    prior_examples: float = 10.0
    """How many examples the average character counts for, if there is a context."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    dropout: float = 0.1
    """Share of hidden units and of inputs of the features left out while training."""
    unadapted_share: float = 0.5
    """Weight of the average policy's loss beside the loss after adapting."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)

    def candidates(self) -> list[BayesSettings]:
        """Nothing is left to choose after training."""
        return [self]


def build(settings: BayesSettings, spec: BehaviorSpec) -> Learner:
    """Acting state: the differences V [T, D, P] (and the context); memory: what refining needs.

    The logistic sibling of ALPaCA (Harrison et al. 2018). The average policy is trained on everybody's examples as if
    there were no characters, and the features on what it leaves unexplained of a character's query set after the fit
    to its support set, without changing it. With a context, it is guessed as in `cnp`, and V is fitted to the rest.
    """
    head = heads.build_head(spec.action)
    activation, num_features = settings.activation, settings.features + 1
    num_curvatures = len(head.alike)
    context_keys = ("context",) if settings.context else ()
    memory = ("precision", "pull", "count", "known", *(("sum",) if settings.context else ()))

    def init(generator: Generator) -> Params:
        params: Params = {}
        layers = {"decoder": ((spec.observation_size, *settings.hidden, head.num_params), 0.1)}
        if settings.context:
            layers["modulation"] = ((settings.context, 2 * sum(settings.hidden)), 0.1)
            params |= neural_process.init(generator, {
                "features": ((spec.observation_size, *settings.encoder, settings.code), 1.0),
                "surprise": ((head.num_params, settings.code), 1.0),
                "context": ((settings.code + 1, 2 * settings.context, settings.context), 1.0),
            })  # fmt: skip
        for member in range(settings.members):
            params |= networks.with_prefix(f"member.{member}.", neural_process.init(generator, layers))
        inputs = spec.observation_size + sum(settings.hidden)
        params["traits.weight"] = torch.randn(inputs, settings.features, generator=generator) / math.sqrt(inputs)
        params["traits.bias"] = torch.zeros(settings.features)
        params["tempering"] = torch.zeros(2)
        return params

    def members(meta: Params) -> list[Params]:
        return [networks.under_prefix(f"member.{member}.", meta) for member in range(settings.members)]

    def average(meta: Params, context: Tensor | None, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Head parameters [T, N, P] that all members agree on, and the inputs of the features."""
        runs = [neural_process.decode_with_layers(each, context, observation, activation) for each in members(meta)]
        outputs = torch.stack([output for output, _ in runs]).mean(0) if len(runs) > 1 else runs[0][0]
        return outputs, torch.cat(runs[0][1], -1)

    def traits(meta: Params, inputs: Tensor) -> Tensor:
        """Features z [T, N, D], a constant one among them."""
        z = inputs @ meta["traits.weight"] + meta["traits.bias"]
        return torch.cat([z, torch.ones_like(z[..., :1])], -1)

    def temper(meta: Params, shots: Tensor) -> Tensor:
        offset, exponent = meta["tempering"]
        return settings.tempering * torch.exp(offset + exponent * torch.log(shots.clamp_min(1.0) / TYPICAL_SHOTS))

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        like = meta["traits.bias"]
        state = {
            "weights": like.new_zeros(num_tasks, num_features, head.num_params),
            "precision": like.new_zeros(num_tasks, num_curvatures, num_features, num_features),
            "pull": like.new_zeros(num_tasks, num_features, head.num_params),
            "count": like.new_zeros(num_tasks, 1),
            "known": like.new_zeros(num_tasks, 1),
        }
        if settings.context:
            state |= {"context": like.new_zeros(num_tasks, settings.context),
                      "sum": like.new_zeros(num_tasks, settings.code)}  # fmt: skip
        return state

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        reached = recognise(meta, state, examples)
        expected, inputs = average(meta, reached.get("context"), examples.observation)
        reached |= differ(meta, state, reached["count"], expected, traits(meta, inputs), examples)
        told = examples.weight.sum(-1) > 0
        return {key: torch.where(inner_loop.along_tasks(told, v), v, state[key]) for key, v in reached.items()}

    def recognise(meta: Params, state: Params, examples: Examples) -> Params:
        """How many examples there are now, and the context that they suggest."""
        if not settings.context:
            return {"count": state["count"] + examples.weight.sum(-1, keepdim=True)}
        expected, _ = average(meta, None, examples.observation)
        seen = neural_process.collect(meta, head, state, expected, examples, activation)
        mean_code, share = neural_process.summarise(seen, settings.prior_examples)
        guess = neural_process.run(meta, "context", torch.cat([mean_code, share], -1), activation)
        return seen | {"context": share * guess}

    def differ(
        meta: Params, state: Params, count: Tensor, expected: Tensor, features: Tensor, examples: Examples
    ) -> Params:
        """The posterior of V, given what the average policy expected and the features."""
        earlier = posterior.Evidence(state["precision"], state["pull"])
        tempering = temper(meta, count.squeeze(-1))
        v, evidence, covariance = posterior.fit(
            head, expected, features, examples, earlier, tempering, settings.inner_steps
        )
        known = posterior.known(features, examples.weight, covariance)
        return {"weights": v, "precision": evidence.precision, "pull": evidence.pull, "known": known}

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        yield state
        yield update(meta, state, examples)

    def num_steps(shots: Tensor) -> Tensor:
        return (shots > 0).to(torch.int64)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        output, inputs = average(meta, state.get("context"), observation)
        return changed(output, traits(meta, inputs), state)

    def changed(output: Tensor, features: Tensor, state: Params) -> Tensor:
        return output + head.unit(output) * (features @ state["weights"])

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        unadapted = mean_nll(meta, None, task.query, generator)
        start = begin(meta, task.support.weight.shape[0], task.support.weight)
        reached = recognise(meta, start, task.support)
        loss = settings.unadapted_share * unadapted
        if settings.context:
            loss = loss + mean_nll(meta, reached["context"], task.query, generator)
        adapted = adapted_nll(meta, start, reached, task, generator)
        loss = loss + POSTERIOR_SHARE * adapted
        return loss, {"adapted_nll": float(adapted.detach()), "unadapted_nll": float(unadapted.detach())}

    def mean_nll(meta: Params, context: Tensor | None, examples: Examples, generator: Generator) -> Tensor:
        """The members' own NLL, with units left out."""
        losses = []
        for member in members(meta):
            output = neural_process.decode(
                member, context, examples.observation, activation, settings.dropout, generator
            )
            losses.append(task_mean(output, examples))
        return torch.stack(losses).mean()

    def adapted_nll(meta: Params, start: Params, reached: Params, task: Task, generator: Generator) -> Tensor:
        """NLL of the query sets under V fitted to the support sets; teaches features and tempering only."""
        with torch.no_grad():
            context = reached.get("context")
            parts = [average(meta, context, part.observation) for part in task]
        (support, support_inputs), (query, query_inputs) = parts
        support_features, query_features = (
            traits(meta, networks.dropout(inputs, settings.dropout, generator))
            for inputs in (support_inputs, query_inputs)
        )
        state = differ(meta, start, reached["count"].detach(), support, support_features, task.support)
        return task_mean(changed(query, query_features, state), task.query)

    def task_mean(output: Tensor, examples: Examples) -> Tensor:
        nll = head.nll(output, examples.action, examples.action_mask) * examples.weight
        return (nll / inner_loop.total_weight(examples)).sum(-1).mean()

    def embed(meta: Params, state: Params) -> Tensor:
        return torch.cat([state["weights"].flatten(1), *(state[key] for key in context_keys)], -1)

    return Learner(
        ("weights", *context_keys), memory, 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed
    )
