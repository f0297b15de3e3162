"""Omniglot: telling handwritten characters apart from a few drawings of each (Lake et al. 2015).

Training is on the first of the two small background sets, five alphabets, of which one can be held
out for development. The test is on those alphabets of the second set that the first has not.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from npcmeta.tasks.omniglot.distortion import Distortion, distort
from npcmeta.tasks.omniglot.drawings import SIDE, Drawings, DrawingsError, of_sets, select, turned
from npcmeta.types import Action, ActionSpec, BehaviorSpec, Examples, NamedTasks, Task

TRAIN_SET, TEST_SET = "images_background_small1", "images_background_small2"
IMAGE = (SIDE, SIDE)
EVALUATION_TASKS, EVALUATION_SHOTS, EVALUATION_QUERIES = 200, 5, 5


class OmniglotFamily:
    """One task is a choice among `ways` characters, in an order of its own.

    Shots are support examples *per way*, as the field counts them, and so are query shots: a task has `ways * shots`
    support examples. The ways are the first choices of one branch; where it has more, the others are masked, so that
    one learner can be asked among 5 and among 20.
    """

    def __init__(
        self,
        drawings: Drawings,
        *,
        ways: int,
        choices: int | None = None,
        within: float = 0.0,
        distortion: Distortion | None = None,
        seed: int = 0,
    ) -> None:
        """Makes a family of these characters.

        Args:
            drawings: The characters.
            ways: Characters in a task.
            choices: Size of the branch; `ways` if left out.
            within: Share of the tasks whose characters are all of one alphabet.
            distortion: How drawings are distorted, if at all.
            seed: Fixes the tasks of `evaluation`.

        Raises:
            ValueError: If there are too few characters, or choices.
        """
        self._ways, self._choices, self._within = ways, choices or ways, within
        self._pictures, self._distortion, self._seed = drawings.pictures, distortion, seed
        self.spec = BehaviorSpec(SIDE * SIDE, ActionSpec(0, (self._choices,)), 1.0)
        groups = by_alphabet(drawings)
        self._everything = torch.arange(len(drawings.places))
        self._alphabets = [group for group in groups if len(group) >= ways]
        most = max(map(len, groups)) if within else len(drawings.places)
        if not 2 <= ways <= min(most, self._choices):
            raise ValueError(f"{ways} ways: expected 2 to {min(most, self._choices)}")

    def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        """Draws tasks with `ways * shots` support and `ways * query_shots` query examples, each in random order."""
        drawn = self._draw(generator, num_tasks, shots + query_shots)
        return self._task(generator, drawn[:, :, query_shots:], drawn[:, :, :query_shots])

    def evaluation(self, shots: int) -> NamedTasks:
        """The same characters and query sets for every number of shots, of which there are at most 5."""
        generator = Generator().manual_seed(self._seed)
        count = EVALUATION_TASKS if shots <= EVALUATION_SHOTS else 0
        drawn = self._draw(generator, count, EVALUATION_QUERIES + EVALUATION_SHOTS)
        support = drawn[:, :, EVALUATION_QUERIES : EVALUATION_QUERIES + shots]
        ids = tuple(f"characters-{self._seed}-{i:04d}" for i in range(count))
        return NamedTasks(ids, self._task(generator, support, drawn[:, :, :EVALUATION_QUERIES]))

    def _draw(self, generator: Generator, num_tasks: int, count: int) -> Tensor:
        """Pictures [T, ways, count, H * W] of different characters, each by different people."""
        people = self._pictures.shape[1]
        if count > people:
            raise ValueError(f"{count} drawings of each character, shots and query shots together; there are {people}")
        characters = torch.cat([self._everything[:0], *(self._characters(generator) for _ in range(num_tasks))])
        order = torch.rand(num_tasks, self._ways, people, generator=generator).argsort(-1)
        characters = characters.reshape(num_tasks, self._ways, 1)
        pictures = self._pictures[characters, order[..., :count]].float() / 255
        if self._distortion is not None:
            pictures = distort(pictures.flatten(0, 2), self._distortion, generator).reshape(pictures.shape)
        return pictures.flatten(3)

    def _characters(self, generator: Generator) -> Tensor:
        group = self._everything
        if self._within and float(torch.rand((), generator=generator)) < self._within:
            group = self._alphabets[int(torch.randint(len(self._alphabets), (), generator=generator))]
        return group[torch.randperm(len(group), generator=generator)[: self._ways]]

    def _task(self, generator: Generator, support: Tensor, query: Tensor) -> Task:
        return Task(self._examples(generator, support), self._examples(generator, query))

    def _examples(self, generator: Generator, pictures: Tensor) -> Examples:
        num_tasks, ways, count = pictures.shape[:3]
        order = torch.rand(num_tasks, ways * count, generator=generator).argsort(-1)
        observation = pictures.flatten(1, 2).gather(1, order.unsqueeze(-1).expand(-1, -1, pictures.shape[-1]))
        choice = order.div(max(count, 1), rounding_mode="floor").unsqueeze(-1)
        mask = (torch.arange(self._choices) < ways).expand(*order.shape, -1)
        return Examples(observation, Action(observation[..., :0], choice), mask, torch.ones(order.shape))


def by_alphabet(drawings: Drawings) -> list[Tensor]:
    """The numbers of the characters of each alphabet."""
    alphabets = [place[:2] for place in drawings.places]
    return [torch.tensor([i for i, each in enumerate(alphabets) if each == one]) for one in dict.fromkeys(alphabets)]


def training_drawings(drawings: Drawings, *, held_out: str | None = None) -> tuple[Drawings, Drawings]:
    """Set 1 without the alphabet that is held out for development, turned as well, and that alphabet alone.

    Raises:
        DrawingsError: If there is no set 1, or no such alphabet in it.
    """
    known = of_sets(drawings, TRAIN_SET)
    apart = [place[1] == held_out for place in known.places]
    if held_out is not None and not any(apart):
        there = ", ".join(sorted({place[1] for place in known.places}))
        raise DrawingsError(f"there is no alphabet {held_out} in {TRAIN_SET}; it has {there}")
    return turned(select(known, [not each for each in apart])), select(known, apart)


def test_drawings(drawings: Drawings) -> Drawings:
    """The characters of set 2 whose alphabets are not in set 1."""
    known = {place[1] for place in of_sets(drawings, TRAIN_SET).places}
    asked = of_sets(drawings, TEST_SET)
    return select(asked, [place[1] not in known for place in asked.places])
