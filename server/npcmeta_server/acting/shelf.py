"""A shelf of the state bank: places for the acting states of one archetype revision, in preallocated arrays."""

from __future__ import annotations

import numpy as np

from npcmeta.types import Params


class Shelf:
    """Places, taken and given back; whose they are is the bank's business."""

    def __init__(self, example: Params, max_bytes: int) -> None:
        """Makes room for as many states shaped like `example` (with a task axis of 1) as `max_bytes` hold.

        Raises:
            ValueError: If the machine cannot promise that much memory.
        """
        self.bytes_per_npc = sum(value.numpy().nbytes for value in example.values())
        self.places = max(1, max_bytes // max(1, self.bytes_per_npc))
        self._example, self._max_bytes = example, max_bytes
        self._make()

    def __len__(self) -> int:
        """How many places are taken."""
        return self._begun - len(self._free)

    @property
    def full(self) -> bool:
        """Whether every place is taken."""
        return len(self) == self.places

    def take(self) -> int:
        """A place that was free; there has to be one."""
        if self._free:
            return self._free.pop()
        self._begun += 1  # those that come one after another lie one behind another
        return self._begun - 1

    def give_back(self, place: int) -> None:
        """Frees a place, and all memory with the last one."""
        self._free.append(place)
        if not len(self) and self._begun > 1:
            self._make()

    def write(self, place: int, state: Params) -> None:
        """Puts a state, with its task axis of 1, into a place."""
        for key, array in self._arrays.items():
            array[place] = state[key][0].numpy()

    def gather(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """The states in the given places, as inputs of the policy graph. Contiguous places cost no copy."""
        if len(places) and places[-1] - places[0] == len(places) - 1 and (np.diff(places) == 1).all():
            return {f"state.{key}": array[places[0] : places[-1] + 1] for key, array in self._arrays.items()}
        return {f"state.{key}": array.take(places, 0) for key, array in self._arrays.items()}

    def _make(self) -> None:
        self._begun = 0  # places from here on have never been used
        self._free: list[int] = []
        self._arrays: dict[str, np.ndarray] = {}  # those before go first
        try:
            # Zeros take memory only where something was written: an empty shelf is small, and a full one is not copied.
            self._arrays = {
                key: np.zeros((self.places, *value.shape[1:]), value.numpy().dtype)
                for key, value in self._example.items()
            }
        except (MemoryError, ValueError) as error:
            raise ValueError(
                f"a bank of {self._max_bytes >> 20} MiB is more than this machine can promise ({error}); "
                "serve with a smaller --bank-mebibytes"
            ) from error
