"""The whole vocabulary. Read this first.

Everything in the core is a pure function over named tensors. Every tensor of a task or of a state has a leading
*task axis*, so a batch of NPCs is the normal case and one NPC is a batch of one.

Shape letters used throughout the project:

    T  tasks (characters) in a batch          S  support examples       Q  query examples
    N  rows of a flat batch (one NPC each)    O  observation size       C  continuous actions
    B  discrete branches                      W  sum of branch sizes    P  head parameters
    G  head parameters of which each bends the NLL in its own way; the logits share one
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from torch import Generator, Tensor

Params = dict[str, Tensor]
"""The only tree. Its keys become ONNX input names and safetensors keys."""


class ActionSpec(NamedTuple):
    """What a character decides each tick: continuous actions, discrete branches, or both."""

    continuous_size: int
    branch_sizes: tuple[int, ...]

    @property
    def mask_size(self) -> int:
        """Columns of an action mask, W: one for each choice of each branch."""
        return sum(self.branch_sizes)


class BehaviorSpec(NamedTuple):
    """What a character sees, decides, and how often."""

    observation_size: int
    action: ActionSpec
    tick_rate_hz: float

    @property
    def in_words(self) -> str:
        """For messages to people."""
        choices = " + ".join(map(str, self.action.branch_sizes)) or "none"
        seen, moved = self.observation_size, self.action.continuous_size
        return f"observations {seen}, continuous actions {moved}, discrete choices {choices}, {self.tick_rate_hz:g} Hz"


class Normaliser(NamedTuple):
    """Mean and standard deviation of every observation, measured while training."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Action(NamedTuple):
    """Decisions. An absent kind has size 0, never None."""

    continuous: Tensor  # [..., C] float32, in [-1, 1] for games
    discrete: Tensor  # [..., B] int64, the index chosen in each branch


class Examples(NamedTuple):
    """What characters saw and then did. The number of shots is the sum of the weights, never S."""

    observation: Tensor  # [T, S, O] float32
    action: Action  # continuous [T, S, C], discrete [T, S, B]
    action_mask: Tensor  # [T, S, W] bool, True = allowed; W is 0 without branches
    weight: Tensor  # [T, S] float32 >= 0; 0 is padding, so ragged shots stay rectangular

    def map(self, change: Callable[[Tensor], Tensor]) -> Examples:
        """The same change of every tensor."""
        observation, action, mask, weight = self
        return Examples(change(observation), Action(*map(change, action)), change(mask), change(weight))


class Task(NamedTuple):
    """One character per row: what it is adapted on, and what the adaptation is judged on."""

    support: Examples
    query: Examples


class NamedTasks(NamedTuple):
    """Tasks to evaluate on, with ids that stay the same from run to run."""

    ids: tuple[str, ...]
    task: Task


class TaskFamily(Protocol):
    """A distribution over characters (tasks) that share one behavior spec."""

    spec: BehaviorSpec

    def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        """Draws a meta-batch: `num_tasks` tasks with `shots` support and `query_shots` query examples each."""
        ...

    def evaluation(self, shots: int) -> NamedTasks:
        """The fixed tasks of this family to evaluate on; for every `shots` the same characters and query sets.

        A task with too few examples for `shots` is left out.
        """
        ...


class TaskSplits(NamedTuple):
    """The three parts of a family.

    Nothing that `test` holds was seen while training or choosing a checkpoint, except where it is `validation` itself:
    recordings are split in two, and to evaluate on them one brings others.
    """

    train: TaskFamily
    validation: TaskFamily
    test: TaskFamily
    summary: dict[str, Any]  # JSON: which tasks are where; goes into the archetype's header


class Head(NamedTuple):
    """Turns head parameters into a distribution over actions. Masks enter here, never in `Learner.predict`."""

    num_params: int
    num_noise: int  # C + W
    alike: tuple[int, ...]  # [G]: how many head parameters, in their order, share each column of `curvature`
    nll: Callable[[Tensor, Action, Tensor], Tensor]  # (params [.., P], action, mask [.., W]) -> nats [..]
    nll_gradient: Callable[[Tensor, Action, Tensor], Tensor]  # the derivative of nll by params, [.., P]
    unit: Callable[[Tensor], Tensor]  # (params [.., P]) -> the size of a change that matters, [.., P]
    curvature: Callable[[Tensor, Action, Tensor], Tensor]  # its second derivatives in these units, or bounds, [.., G]
    mode: Callable[[Tensor, Tensor], Action]  # (params, mask) -> the most likely action
    sample: Callable[[Tensor, Tensor, Tensor], Action]  # (params, mask, noise [.., C + W]) -> a drawn action
    draw_noise: Callable[[Generator, tuple[int, ...]], Tensor]  # (generator, leading shape) -> noise for `sample`


class Learner(NamedTuple):
    """A few-shot policy as pure functions; every tensor of a task or a state leads with the task axis T.

    `acting` are the state's keys that `predict` and `embed` read (the only ones in a server's bank and in a policy
    graph); `memory` are those that `update` alone reads. `noise` is standard normal, [T, noise_size]; a learner
    that draws nothing has `noise_size` 0.
    """

    acting: tuple[str, ...]
    memory: tuple[str, ...]
    noise_size: int
    head: Head
    init: Callable[[Generator], Params]  # (generator) -> meta-parameters
    begin: Callable[[Params, int, Tensor], Params]  # (meta, num_tasks, noise) -> state, playable before any example
    steps: Callable[[Params, Params, Examples], Iterator[Params]]  # (meta, state, examples) -> the inner loop's states
    num_steps: Callable[[Tensor], Tensor]  # (shots [T]) -> how many of `steps` change a task's state, [T] int64
    update: Callable[[Params, Params, Examples], Params]  # (meta, state, examples) -> the last of `steps`
    predict: Callable[[Params, Params, Tensor], Tensor]  # (meta, state, observation [T,Q,O]) -> head params [T,Q,P]
    meta_loss: Callable[[Params, Task, Generator], tuple[Tensor, dict[str, float]]]  # -> (scalar, metrics)
    embed: Callable[[Params, Params], Tensor]  # (meta, state) -> task embedding [T, E]
