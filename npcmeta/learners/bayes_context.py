"""`bayes` with a context: a guess of who the character is, then a few Newton-like steps of its posterior.

The guess is a conditional neural process's (`cnp`). It is where the steps begin and the mean of the prior; they go
uphill in what the policy itself says of the examples, which is worth more than three times the training time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, neural_process, posterior
from npcmeta.learners.query_loss import mean_nll, weighed
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task

if TYPE_CHECKING:
    from npcmeta.learners.bayes import BayesSettings

SPREAD_SHARE = 0.01
"""Weight of the loss that teaches how much contexts differ; nothing else follows it."""


def build(settings: BayesSettings, spec: BehaviorSpec) -> Learner:
    """Acting state: the context [T, context], zero at first; memory: codes for the guess, and earlier evidence.

    The steps are of natural gradient with the empirical Fisher matrix of the examples (Amari 1998), on
    c * NLL + |(context - guess) / spread|^2 / 2 with the tempering c. Training makes one of them, whose length it takes
    as given: the policy learns to play characters as they are found, and the guess to begin where they are.
    """
    head = heads.build_head(spec.action)
    activation, size = settings.activation, settings.context

    def init(generator: Generator) -> Params:
        parts = {
            "features": ((spec.observation_size, *settings.encoder, settings.code), 1.0),
            "surprise": ((head.num_params, settings.code), 1.0),
            "context": ((settings.code + 1, 2 * size, size), 1.0),
            "modulation": ((size, 2 * sum(settings.hidden)), 0.1),
            "decoder": ((spec.observation_size, *settings.hidden, head.num_params), 0.1),
        }
        return neural_process.init(generator, parts) | {"log_spread": torch.zeros(size)}

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        like = meta["log_spread"]
        return {
            "context": like.new_zeros(num_tasks, size),
            "sum": like.new_zeros(num_tasks, settings.code),
            "count": like.new_zeros(num_tasks, 1),
            "precision": like.new_zeros(num_tasks, size, size),
            "known": like.new_zeros(num_tasks, 1),
        }

    def suggested(meta: Params, seen: Params) -> Tensor:
        """The context that codes suggest, [T, context]; zero without any."""
        mean_code, share = neural_process.summarise(seen, settings.prior_examples)
        return share * neural_process.run(meta, "context", torch.cat([mean_code, share], -1), activation)

    def guess(meta: Params, state: Params, expected: Tensor, examples: Examples) -> Params:
        """The state with the examples' codes in it, and where the prior's mean is and the steps begin.

        That is the context that all codes suggest, moved as far as earlier steps went from what was suggested then:
        there the slopes of the earlier examples and of the prior were equal, and so the prior counts once.
        """
        seen = neural_process.collect(meta, head, state, expected, examples, activation)
        return seen | {"context": suggested(meta, seen) + state["context"] - suggested(meta, state)}

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        yield state
        first = neural_process.first_layer(meta, examples.observation)
        reached = guess(meta, state, neural_process.decode_from(meta, None, first, activation), examples)
        centre, told = reached["context"], examples.weight.sum(-1) > 0
        for _ in range(settings.inner_steps):
            reached = reached | step(meta, state, centre, reached["context"], first, examples)
            yield {key: torch.where(inner_loop.along_tasks(told, reached[key]), reached[key], state[key])
                   for key in state}  # fmt: skip

    def step(
        meta: Params, earlier: Params, centre: Tensor, context: Tensor, first: Tensor, examples: Examples
    ) -> Params:
        """Moves the contexts to where a quadratic model of the posterior is highest."""
        spread = torch.exp(meta["log_spread"])
        slopes = neural_process.context_gradients(meta, head, context, first, examples, activation)
        weighted = slopes * examples.weight.unsqueeze(-1)
        precision = earlier["precision"] + weighted.transpose(-1, -2) @ slopes
        old = (earlier["precision"] @ (context - earlier["context"]).unsqueeze(-1)).squeeze(-1)
        # In units of the spread the prior is N(centre / spread, I), and the inverse is of a matrix I + H.
        slope = settings.tempering * (weighted.sum(-2) + old) * spread + (context - centre) / spread
        scaled = settings.tempering * precision * spread * spread.unsqueeze(-1)
        covariance = posterior.inverse(scaled + posterior.identity(size, scaled))
        moved = context - spread * (covariance @ slope.unsqueeze(-1)).squeeze(-1)
        known = 1 - (covariance * posterior.identity(size, covariance)).sum((-1, -2)).unsqueeze(-1) / size
        return {"context": moved, "precision": precision, "known": known}

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        return inner_loop.last(steps(meta, state, examples))

    def num_steps(shots: Tensor) -> Tensor:
        return settings.inner_steps * (shots > 0).to(torch.int64)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return neural_process.decode(meta, state["context"], observation, activation)

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        start = begin(meta, task.support.weight.shape[0], task.support.weight)
        support, query = (neural_process.first_layer(meta, part.observation) for part in task)
        expected = neural_process.decode_from(meta, None, support, activation)
        guessed = guess(meta, start, expected, task.support)["context"]
        with torch.no_grad():
            moved = step(meta, start, guessed, guessed, support, task.support)["context"] - guessed
        adapted = neural_process.decode_from(meta, guessed + moved, query, activation, settings.dropout, generator)
        after = mean_nll(head, adapted, task.query)
        if settings.dropout:
            unadapted = neural_process.decode_from(meta, None, query, activation, settings.dropout, generator)
            before = mean_nll(head, unadapted, task.query)
        else:  # what codes of surprise needed is at hand; the query set's would take a fifth of a step
            before = mean_nll(head, expected, task.support)
        loss, metrics = weighed(after, before, settings.unadapted_share)
        return loss + SPREAD_SHARE * spread_nll(meta["log_spread"], guessed.detach()), metrics

    def spread_nll(log_spread: Tensor, contexts: Tensor) -> Tensor:
        """NLL of the training characters' contexts under N(0, spread^2)."""
        return (log_spread + 0.5 * (contexts * torch.exp(-log_spread)).square()).mean()

    def embed(meta: Params, state: Params) -> Tensor:
        return state["context"]

    memory = ("sum", "count", "precision", "known")
    return Learner(("context",), memory, 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)
