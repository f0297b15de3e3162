"""The outer loop: gradient steps over meta-batches, an average of the weights, validation, checkpoints and resuming.

Every learner is trained by this same loop, the baseline included, so that comparisons are fair.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Generator, Tensor

from npcmeta import files
from npcmeta.optimizers import Optimizer, build_optimizers
from npcmeta.types import Learner, Params, TaskFamily


@dataclass(frozen=True)
class OuterSettings:
    """Settings of the outer loop."""

    meta_steps: int = 1000
    """Outer steps; with `minutes`, the most there can be."""
    minutes: float = 0.0
    """Time budget in minutes; 0 trains for `meta_steps` and is reproducible."""
    meta_batch: int = 16
    """Tasks per outer step."""
    optimizer: Optimizer = "adamw"
    """adamw; muon: fewer steps, of which each costs a little more; or soap: fewer still, for small networks."""
    rate: float = 2e-3
    """Step size; it falls linearly to zero over the second half."""
    weight_decay: float = 0.05
    """Weight decay."""
    clip: float = 1.0
    """Largest norm of the meta-gradient."""
    averaging: float = 0.99
    """Decay of the running average of the weights, which is what is validated and kept."""
    min_shots: int = 1
    """Fewest support examples of a training task."""
    max_shots: int = 50
    """Most support examples of a training task; shots are drawn uniformly in their logarithm."""
    query_shots: int = 50
    """Query examples of a training task."""
    validations: int = 20
    """How often the held-out tasks are looked at."""


class Outcome(NamedTuple):
    """What one outer step did."""

    step: int
    fraction: float  # of the budget that is spent, 0 to 1
    loss: float  # meta-loss of this meta-batch
    validation: float | None  # mean NLL on held-out tasks in nats, when it was just measured
    best: float  # lowest validation so far
    tasks_per_second: float
    seconds_left: float


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or of another run."""


class OuterLoop:
    """One training run. Call `advance` until `finished`; `best` are the meta-parameters to keep."""

    def __init__(
        self,
        learner: Learner,
        family: TaskFamily,
        validate: Callable[[Params], float],
        settings: OuterSettings,
        seed: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begins a run; everything random in it comes from `seed`. `clock` tells the seconds of its time budget."""
        self._learner, self._family, self._validate, self._settings = learner, family, validate, settings
        self._clock = clock
        self._identity = {"settings": dataclasses.asdict(settings), "seed": seed}
        self._generator = Generator().manual_seed(seed)
        self._meta = {key: value.requires_grad_() for key, value in learner.init(self._generator).items()}
        self._optimizers = build_optimizers(settings.optimizer, self._meta, settings.rate, settings.weight_decay)
        self._average = {key: value.detach().clone() for key, value in self._meta.items()}
        self.best = dict(self._average)
        self.best_validation = math.inf
        self.history: list[tuple[int, float]] = []
        self._step, self._seconds, self._validated = 0, 0.0, 0.0

    @property
    def fraction(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        spent = self._step / self._settings.meta_steps
        if self._settings.minutes > 0:
            spent = max(spent, self._seconds / (60 * self._settings.minutes))
        return min(1.0, spent)

    @property
    def seconds(self) -> float:
        """Seconds spent in outer steps, those before an interruption included."""
        return self._seconds

    @property
    def finished(self) -> bool:
        """Whether the budget is spent and the last weights were validated."""
        return self.fraction >= 1.0 and self._validated >= 1.0

    def advance(self) -> Outcome:
        """Makes one outer step, and validates when it is time to."""
        started = self._clock()
        loss = self._outer_step()
        self._step += 1
        validation = self._validation_due()
        self._seconds += self._clock() - started
        speed = self._step / max(self._seconds, 1e-9)
        remaining = self._seconds * (1 - self.fraction) / max(self.fraction, 1e-9)
        return Outcome(
            self._step, self.fraction, loss, validation, self.best_validation,
            speed * self._settings.meta_batch, remaining,
        )  # fmt: skip

    def _outer_step(self) -> float:
        settings = self._settings
        task = self._family.sample(
            self._generator, settings.meta_batch, shots=self._draw_shots(), query_shots=settings.query_shots
        )
        for optimizer in self._optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * min(1.0, 2 * (1 - self.fraction) + 1e-3)
        loss, _ = self._learner.meta_loss(self._meta, task, self._generator)
        loss.backward()
        slope = torch.nn.utils.clip_grad_norm_(list(self._meta.values()), settings.clip)
        if not math.isfinite(float(loss.detach())) or not math.isfinite(float(slope)):
            raise FloatingPointError(
                f"at outer step {self._step + 1} the meta-loss is {float(loss.detach())} and the norm of its gradient "
                f"{float(slope)}, expected finite numbers; try a smaller inner_rate, or look for extreme observations"
            )
        for optimizer in self._optimizers:
            optimizer.step()
        self._follow()
        return float(loss.detach())

    def _draw_shots(self) -> int:
        low, high = math.log(self._settings.min_shots), math.log(self._settings.max_shots)
        return round(math.exp(low + (high - low) * float(torch.rand((), generator=self._generator))))

    def _follow(self) -> None:
        """Lets the average follow the weights; quickly at first, when they move far."""
        decay = min(self._settings.averaging, (1 + self._step) / (10 + self._step))
        with torch.no_grad():
            for key, value in self._meta.items():
                self._average[key].lerp_(value, 1 - decay)

    def _validation_due(self) -> float | None:
        if self.fraction < min(1.0, self._validated + 1 / self._settings.validations) - 1e-9:
            return None
        self._validated = self.fraction
        nll = self._validate(self._average)
        self.history.append((self._step, nll))
        if nll <= self.best_validation:
            self.best_validation = nll
            self.best = {key: value.clone() for key, value in self._average.items()}
        return nll

    def _optimizer_of(self, value: Tensor) -> torch.optim.Optimizer:
        return next(
            each for each in self._optimizers if any(value is p for g in each.param_groups for p in g["params"])
        )

    def save(self, path: Path, identity: dict[str, Any]) -> None:
        """Writes all that is needed to go on from here; `identity` says which run it is."""
        tensors = {f"meta.{k}": v.detach() for k, v in self._meta.items()}
        tensors |= {f"average.{k}": v for k, v in self._average.items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for key, value in self._meta.items():
            state = self._optimizer_of(value).state.get(value, {})
            tensors |= {f"optimizer.{key}/{name}": kept for name, kept in state.items()}
        tensors["generator"] = self._generator.get_state()
        progress = {
            "step": self._step,
            "seconds": self._seconds,
            "validated": self._validated,
            "best_validation": self.best_validation if math.isfinite(self.best_validation) else None,
            "history": self.history,
        }
        described = {"identity": self._identity | identity, "progress": progress}
        owned = {k: v.clone().contiguous() for k, v in tensors.items()}  # a file holds no memory that tensors share
        files.write_bytes(path, save(owned, {"npcmeta": json.dumps(described)}))

    def resume(self, path: Path, identity: dict[str, Any]) -> None:
        """Goes on from a checkpoint that `save` wrote for the same run.

        Raises:
            CheckpointError: If it is damaged or was written by a run with other settings.
        """
        try:
            with safe_open(path, "pt") as file:
                described = json.loads(file.metadata()["npcmeta"])
                # Copied, because products of matrices that lie otherwise in memory differ in their last bits.
                tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
            self._check_identity(path, described["identity"], self._identity | identity)
            self._restore(tensors, described["progress"])
        except CheckpointError:
            raise
        except (SafetensorError, KeyError, TypeError, AttributeError, OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path}: not an intact checkpoint ({error}); delete it to begin anew") from error

    def _check_identity(self, path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
        different = list(_differences(found, json.loads(json.dumps(expected))))
        if different:
            more = f", and {len(different) - 5} more" if len(different) > 5 else ""
            raise CheckpointError(
                f"{path} was written by another run: {', '.join(different[:5])}{more}; "
                "repeat that command to go on with it, or choose another --out"
            )

    def _restore(self, tensors: Params, progress: dict[str, Any]) -> None:
        with torch.no_grad():
            for key, value in self._meta.items():
                value.copy_(tensors[f"meta.{key}"])
                prefix = f"optimizer.{key}/"
                kept = {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}
                self._optimizer_of(value).state[value] = kept
        self._average = {key: tensors[f"average.{key}"] for key in self._meta}
        self.best = {key: tensors[f"best.{key}"] for key in self._meta}
        self._generator.set_state(tensors["generator"])
        self._step, self._seconds, self._validated = progress["step"], progress["seconds"], progress["validated"]
        self.best_validation = math.inf if progress["best_validation"] is None else progress["best_validation"]
        self.history = [(int(step), float(nll)) for step, nll in progress["history"]]


def _differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    """What differs between two trees of JSON, in words."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys((*here, *there)):
            yield from _differences(there.get(key), here.get(key), f"{name}.{key}".strip("."))
    elif there != here:
        before, now = (json.dumps(value)[:40] if value is not None else "nothing" for value in (there, here))
        yield f"{name} is {before} there, {now} here"
