"""Whether a learner knows what it does not know: the same support set, adapted to with many draws of the noise.

The draws of one task are equally plausible characters; together they are a mixture, whose confidence is compared with
what the character really did. D stands for the number of draws; a learner without noise has draws that are all alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from npcmeta import heads
from npcmeta.archetype import draw_state_noise
from npcmeta.evaluate import CHUNK, take_tasks, weighted_mean
from npcmeta.types import Action, ActionSpec, Examples, Learner, Params, Task

BINS = 10
"""Bins of equal width for the expected calibration error."""


class Calibration(NamedTuple):
    """How well the draws of many tasks speak for what the characters did. NLLs are in nats per decision."""

    nll_draw: float  # of one draw, on average
    nll_mixture: float  # of the mixture, each decision by itself
    nll_character: float  # of the mixture of whole characters: all decisions of a query set under the same draw
    spread: float  # standard deviation between draws of the mean continuous action, as scaled; NaN without them
    disagreement: float  # how often the likeliest choices of two draws differ; NaN without branches
    indecision: float  # how often one draw would choose differently if asked twice; NaN without branches
    calibration_error: float  # of the mixture's choices: confidence against accuracy, in bins; NaN without branches
    coverage_50: float  # share of continuous actions inside of the mixture's central 50 % interval; NaN without them
    coverage_90: float  # and inside of its 90 % interval


def draw_params(learner: Learner, meta: Params, task: Task, draws: int) -> Tensor:
    """Head parameters [D, T, Q, P] for the query sets, after adapting to the support sets with other noise each time.

    Draw d of task t has the noise of an NPC with the seed d * T + t.
    """
    tasks, drawn = task.support.weight.shape[0], []
    with torch.no_grad():
        for draw in range(draws if learner.noise_size else 1):
            noise, chunks = draw_state_noise(learner, range(draw * tasks, (draw + 1) * tasks)), []
            for rows in torch.arange(tasks).split(CHUNK):
                part = take_tasks(task, rows)
                state = learner.update(meta, learner.begin(meta, len(rows), noise[rows]), part.support)
                chunks.append(learner.predict(meta, state, part.query.observation))
            drawn.append(torch.cat(chunks))
    return torch.stack(drawn).expand(draws, *drawn[0].shape)


def measure(learner: Learner, action: ActionSpec, params: Tensor, query: Examples) -> Calibration:
    """Judges draws [D, T, Q, P] on the query sets; every task counts the same, every decision of a task as it weighs.

    Args:
        learner: Whose head the parameters are for; it has a learned spread.
        action: What is decided.
        params: From `draw_params`, with at least two draws.
        query: What the characters did.
    """
    nll = learner.head.nll(params, _for_each_draw(query.action, len(params)), query.action_mask)
    whole = mixture_nll((nll * query.weight).sum(-1)) / query.weight.sum(-1).clamp_min(1e-12)
    shared = query._replace(weight=query.weight / query.weight.sum(-1, keepdim=True).clamp_min(1e-12))
    nothing = math.nan, math.nan, math.nan
    spread, inner, outer = _continuous(action, params, shared) if action.continuous_size else nothing
    disagreement, indecision, error = _discrete(action, params, shared) if action.branch_sizes else nothing
    return Calibration(
        float(weighted_mean(nll.mean(0), query.weight).mean()),
        float(weighted_mean(mixture_nll(nll), query.weight).mean()),
        float(whole.mean()),
        spread,
        disagreement,
        indecision,
        error,
        inner,
        outer,
    )


def mixture_nll(nll: Tensor) -> Tensor:
    """NLL of the mixture of equally likely draws, [D, ...] to [...]."""
    return math.log(nll.shape[0]) - torch.logsumexp(-nll, 0)


def mixture_cdf(mean: Tensor, std: Tensor, taken: Tensor) -> Tensor:
    """The probability of less than `taken` [...] under the mixture of normal distributions [D, ...]."""
    return (0.5 * (1 + torch.erf((taken - mean) / (std * math.sqrt(2))))).mean(0)


def coverage(cdf: Tensor, weight: Tensor, level: float) -> float:
    """Share of values inside of the central interval of probability `level`, from their CDF."""
    inside = ((cdf - 0.5).abs() <= level / 2).to(weight.dtype)
    return float((inside * weight).sum() / weight.sum())


def calibration_error(confidence: Tensor, right: Tensor, weight: Tensor) -> float:
    """Expected calibration error: |accuracy - confidence| in bins of equal width, weighted by how many fall in.

    Args:
        confidence: Probability of the likeliest choice [n].
        right: Whether it was chosen [n].
        weight: How much each decision counts [n].

    Source: Guo et al. 2017, equation 3.
    """
    place = (confidence * BINS).long().clamp(0, BINS - 1)
    gap = (right.to(weight.dtype) - confidence) * weight
    total = torch.zeros(BINS, dtype=gap.dtype).index_add(0, place, gap)
    return float(total.abs().sum() / weight.sum())


def _continuous(action: ActionSpec, params: Tensor, query: Examples) -> tuple[float, float, float]:
    mean, std = heads.moments(params, action)
    cdf = mixture_cdf(mean, std, query.action.continuous)
    weight = query.weight.unsqueeze(-1).expand_as(cdf)
    between = weighted_mean(mean.std(0).mean(-1), query.weight).mean()
    return float(between), coverage(cdf, weight, 0.5), coverage(cdf, weight, 0.9)


def _discrete(action: ActionSpec, params: Tensor, query: Examples) -> tuple[float, float, float]:
    differ, waver, confidence, right = [], [], [], []
    for branch, chances in enumerate(heads.probabilities(params, query.action_mask, action)):
        picked = heads.one_hot(chances.argmax(-1), chances.shape[-1]).mean(0)
        differ.append((1 - picked.square().sum(-1)) * len(chances) / (len(chances) - 1))
        waver.append((1 - chances.square().sum(-1)).mean(0))
        sure, best = chances.mean(0).max(-1)
        confidence.append(sure.flatten())
        right.append((best == query.action.discrete[..., branch]).flatten())
    weight = query.weight.flatten().repeat(len(differ))
    shares = [weighted_mean(torch.stack(part).mean(0), query.weight).mean() for part in (differ, waver)]
    return float(shares[0]), float(shares[1]), calibration_error(torch.cat(confidence), torch.cat(right), weight)


def _for_each_draw(action: Action, draws: int) -> Action:
    """The same actions once for each draw, as a head's `nll` needs them."""
    return Action(*(part.expand(draws, *part.shape) for part in action))
