"""One archetype revision at work: its policy graph in onnxruntime, on its shelf of the bank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from npcmeta_export.runtime import load_session
from npcmeta_server.acting.state_bank import StateBank
from npcmeta_server.catalog import Hosted

RUN_BYTES = 256 << 20
"""States that one run reads, at most; larger frames take several."""


class Frame(NamedTuple):
    """What some NPCs see in one tick; each array has a row for each of them."""

    rows: np.ndarray  # [n] int64, in the bank
    observations: np.ndarray  # [n, O] float32
    action_mask: np.ndarray  # [n, W] bool
    noise: np.ndarray  # [n, C + W] float32


class Decisions(NamedTuple):
    """What they do."""

    continuous: np.ndarray  # [n, C] float32
    discrete: np.ndarray  # [n, B] int64
    revisions: np.ndarray  # [n] int64, of the state that decided; 0 for an NPC that was deleted


class Policy:
    """Decides for any number of different NPCs in one run. Belongs to the acting thread."""

    def __init__(self, hosted: Hosted, bank: StateBank) -> None:
        """Loads the graph. The bank has to have a shelf for its states before it acts."""
        self.hosted, self.bank = hosted, bank
        self._rows_of_a_run = max(1, RUN_BYTES // max(1, hosted.state_bytes))
        self._session = load_session(hosted.model)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self._outputs = [entry.name for entry in self._session.get_outputs() if entry.name != "head_params"]

    def act(self, frames: Sequence[Frame]) -> list[Decisions]:
        """The decisions of some frames, which are computed together."""
        if len(frames) == 1:
            return [self._in_runs(frames[0])]
        decided = self._in_runs(Frame(*map(np.concatenate, zip(*frames, strict=True))))
        edges = np.cumsum([len(part.rows) for part in frames])[:-1]
        return [Decisions(*parts) for parts in zip(*(np.split(array, edges) for array in decided), strict=True)]

    def _in_runs(self, frame: Frame) -> Decisions:
        """In one run, or in several that each read a bounded part of the bank."""
        size = self._rows_of_a_run
        if len(frame.rows) <= size:
            return self._run(frame)
        runs = [
            self._run(Frame(*(a[first : first + size] for a in frame))) for first in range(0, len(frame.rows), size)
        ]
        return Decisions(*map(np.concatenate, zip(*runs, strict=True)))

    def _run(self, frame: Frame) -> Decisions:
        feeds = {
            "observation": frame.observations,
            "action_mask": frame.action_mask,
            "noise": frame.noise,
            **self.bank.gather(frame.rows, self.hosted.archetype.revision),
        }
        values = self._session.run(self._outputs, {name: feeds[name] for name in self._inputs})
        found, count = dict(zip(self._outputs, values, strict=True)), len(frame.rows)
        continuous, discrete = found.get("continuous_actions"), found.get("discrete_actions")
        return Decisions(
            np.zeros((count, 0), np.float32) if continuous is None else continuous,
            np.zeros((count, 0), np.int64) if discrete is None else discrete,
            self.bank.revisions(frame.rows),
        )
