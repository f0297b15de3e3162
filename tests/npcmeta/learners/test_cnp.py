"""Conditional neural process: a character is the mean code of its examples, as a plain formula has it."""

import torch
from torch import Generator

from npcmeta import neural_process
from tests import toys


def test_the_context_is_what_the_network_says_of_the_mean_code() -> None:
    learner = toys.small_settings("cnp", prior_examples=2.0).build(toys.spec("mixed"))
    task, meta = toys.draw_task("mixed", 3, 6), learner.init(Generator().manual_seed(0))
    state = learner.update(meta, learner.begin(meta, 3, torch.zeros(3, 0)), task.support)
    expected = neural_process.decode(meta, None, task.support.observation, "relu")
    codes = neural_process.encode(meta, learner.head, expected, task.support, "relu")
    mean, share = codes.sum(1) / (6 + 2), torch.full((3, 1), 6 / (6 + 2))
    context = share * neural_process.run(meta, "context", torch.cat([mean, share], -1), "relu")
    torch.testing.assert_close(learner.embed(meta, state), context)
    seen = task.query.observation
    played = neural_process.decode(meta, context, seen, "relu")
    torch.testing.assert_close(learner.predict(meta, state, seen), played)
