"""The meta-loss of most learners: the NLL of the query sets, after adapting and before."""

from __future__ import annotations

from torch import Tensor

from npcmeta import inner_loop
from npcmeta.types import Examples, Head


def query_loss(
    head: Head, query: Examples, adapted: Tensor, unadapted: Tensor, unadapted_share: float
) -> tuple[Tensor, dict[str, float]]:
    """The meta-loss, and its parts as metrics.

    Args:
        head: Turns outputs into a likelihood.
        query: What the characters did.
        adapted: Head parameters after adapting [T, Q, P].
        unadapted: Head parameters before any example [T, Q, P].
        unadapted_share: Weight of the loss before adapting beside the one after it.
    """
    return weighed(mean_nll(head, adapted, query), mean_nll(head, unadapted, query), unadapted_share)


def weighed(after: Tensor, before: Tensor, unadapted_share: float) -> tuple[Tensor, dict[str, float]]:
    """The same of the two losses themselves, after adapting and before it."""
    loss = after + unadapted_share * before if unadapted_share else after
    return loss, {"adapted_nll": float(after.detach()), "unadapted_nll": float(before.detach())}


def mean_nll(head: Head, output: Tensor, examples: Examples) -> Tensor:
    """NLL in nats per decision: the weighted mean over each task's examples, then the mean over tasks."""
    nll = head.nll(output, examples.action, examples.action_mask) * examples.weight
    return (nll / inner_loop.total_weight(examples)).sum(-1).mean()
