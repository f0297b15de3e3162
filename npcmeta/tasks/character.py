"""Avatar appearance: a brief of 100 numbers becomes 50 avatar parameters in [-1, 1], in an art style never seen.

A task is an art style. The styles are procedural: a brief is first read as correlated sliders, the same for all
styles; a style then mixes, bends and shifts them in its own way, drawn from a few continuous traits. Styles whose
traits lie in a corner of their range are held out for testing.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from npcmeta.evaluate import first_shots
from npcmeta.types import Action, ActionSpec, BehaviorSpec, Examples, NamedTasks, Task, TaskSplits

BRIEF, PARAMETERS, SLIDERS, TRAITS = 100, 50, 20, 8
MAX_SHOTS = 20


class CharacterFamily:
    """Art styles, each a map from briefs [100] to avatar parameters [50]."""

    spec = BehaviorSpec(BRIEF, ActionSpec(PARAMETERS, ()), 1.0)

    def __init__(self, seed: int, *, held_out: bool, num_evaluation: int = 200) -> None:
        """`held_out` draws styles from the held-out corner only, otherwise from everywhere but there."""
        self._seed, self._held_out, self._num_evaluation = seed, held_out, num_evaluation
        self._world = _world()

    def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        """Draws styles, and briefs that an artist answered in each of them."""
        traits = draw_traits(generator, num_tasks, held_out=self._held_out)
        brief = self._briefs(generator, num_tasks, query_shots + shots)
        avatar = draw_avatars(self._world, traits, brief, generator)
        query, support = slice(None, query_shots), slice(query_shots, None)
        return Task(_answers(brief[:, support], avatar[:, support]), _answers(brief[:, query], avatar[:, query]))

    def evaluation(self, shots: int) -> NamedTasks:
        """The same styles and query briefs for every number of shots; beyond `MAX_SHOTS` no style is left."""
        tasks = self._num_evaluation
        drawn = self.sample(Generator().manual_seed(self._seed), tasks, shots=MAX_SHOTS, query_shots=40)
        ids = tuple(f"style-{self._seed}-{i:04d}" for i in range(tasks))
        return first_shots(NamedTasks(ids, drawn), shots)

    def _briefs(self, generator: Generator, num_tasks: int, shots: int) -> Tensor:
        """Briefs [T, n, 100]: correlated, as the wishes of one person are, with noise of their own."""
        wishes = torch.randn(num_tasks, shots, SLIDERS, generator=generator)
        noise = torch.randn(num_tasks, shots, BRIEF, generator=generator)
        return wishes @ self._world["brief"] + 0.3 * noise


def splits(split: int) -> TaskSplits:
    """Training and validation styles from outside the held-out corner, test styles from inside it."""
    seed = 1000 * split
    parts = [CharacterFamily(seed + offset, held_out=offset == 3) for offset in (1, 2, 3)]
    summary = {"split": split, "test": "styles with the first trait above 0.4 and the second below -0.2"}
    return TaskSplits(parts[0], parts[1], parts[2], summary)


def draw_traits(generator: Generator, num_tasks: int, *, held_out: bool) -> Tensor:
    """Traits of styles [T, 8], uniform in [-1, 1] inside the held-out corner or outside of it."""
    traits = torch.rand(num_tasks, TRAITS, generator=generator) * 2 - 1
    if held_out:
        traits[:, 0] = 0.4 + 0.3 * (traits[:, 0] + 1)
        traits[:, 1] = -0.2 - 0.4 * (traits[:, 1] + 1)
        return traits
    inside = is_held_out(traits)
    # Mirrored at the origin, a style of the corner is outside of it.
    return torch.where(inside.unsqueeze(-1), -traits, traits)


def is_held_out(traits: Tensor) -> Tensor:
    """Which styles [T] lie in the held-out corner."""
    return (traits[:, 0] > 0.4) & (traits[:, 1] < -0.2)


def draw_avatars(world: dict[str, Tensor], traits: Tensor, brief: Tensor, generator: Generator) -> Tensor:
    """Avatar parameters [T, n, 50] in [-1, 1] for briefs [T, n, 100], with an artist's small inconsistencies."""
    sliders = torch.tanh(brief @ world["read"])
    mix = world["mix"] + torch.einsum("tk,kij->tij", traits, world["mix_by_trait"])
    shift = (traits @ world["shift_by_trait"]).unsqueeze(1)
    gain = torch.exp(0.5 * traits @ world["gain_by_trait"]).unsqueeze(1)
    bend = (traits @ world["bend_by_trait"]).unsqueeze(1)
    wanted = gain * (sliders @ mix) + shift
    bent = wanted + bend * (wanted.square() - 0.5)
    noise = torch.randn(bent.shape, generator=generator)
    return torch.tanh(bent + 0.05 * noise)


def _world() -> dict[str, Tensor]:
    """The maps that all styles share; fixed once for all."""
    generator = Generator().manual_seed(20)

    def draw(*shape: int, scale: float) -> Tensor:
        return scale * torch.randn(*shape, generator=generator)

    return {
        "brief": draw(SLIDERS, BRIEF, scale=SLIDERS**-0.5),
        "read": draw(BRIEF, SLIDERS, scale=1.5 * BRIEF**-0.5),
        "mix": draw(SLIDERS, PARAMETERS, scale=SLIDERS**-0.5),
        "mix_by_trait": draw(TRAITS, SLIDERS, PARAMETERS, scale=(TRAITS * SLIDERS) ** -0.5),
        "shift_by_trait": draw(TRAITS, PARAMETERS, scale=0.6 * TRAITS**-0.5),
        "gain_by_trait": draw(TRAITS, PARAMETERS, scale=TRAITS**-0.5),
        "bend_by_trait": draw(TRAITS, PARAMETERS, scale=0.4 * TRAITS**-0.5),
    }


def _answers(brief: Tensor, avatar: Tensor) -> Examples:
    rows = brief.shape[:2]
    action = Action(avatar, torch.zeros(*rows, 0, dtype=torch.int64))
    return Examples(brief, action, torch.zeros(*rows, 0, dtype=torch.bool), torch.ones(rows))
