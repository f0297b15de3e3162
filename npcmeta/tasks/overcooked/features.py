"""What a player of Overcooked sees, as 91 numbers.

In order: held object (none, onion, dish, soup) and facing (up, down, right, left) of oneself, then of the partner;
partner's offset (x / 5, y / 5), adjacent or not; own x / 8, y / 5; for each neighbouring cell (up, down, right, left)
its kind ("XOSDP "), whether the partner stands there, whether it is a counter with an onion or a dish; the nearest
onion dispenser, serving counter, dish dispenser, empty, partly filled, cooking and ready pot, onion and dish on a
counter, each as (dx / 5, dy / 5, exists); the layout (5); the own last action (6). Nearest is by steps along the axes;
of equally near cells the first in reading order, of equally near objects on counters the first in the recorded state.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from npcmeta.tasks.overcooked.trials import DIRECTIONS, LAYOUTS, STAY, Trial

SIZE = 91
CELLS = "XOSDP "
HELD = ("onion", "dish", "soup")
COOK_TICKS = 20
ONION, DISH, PARTLY, COOKING, READY = 1, 2, 3, 4, 5
FAR = 1000


class Scenes(NamedTuple):
    """The states of a trial as arrays; cells are numbered in reading order."""

    position: NDArray[np.int64]  # [n, 2 players, 2] as x, y
    facing: NDArray[np.int64]  # [n, 2 players], index into DIRECTIONS
    held: NDArray[np.int64]  # [n, 2 players], 0 = nothing
    item: NDArray[np.int64]  # [n, cells]: ONION, DISH on counters, PARTLY, COOKING, READY in pots, else 0
    order: NDArray[np.int64]  # [n, cells]: which object of the state it is


def features(trial: Trial) -> NDArray[np.float32]:
    """The features of both players at every tick [n, 2, 91]."""
    scenes = parse(trial)
    return np.stack([_of_player(trial, scenes, seat) for seat in (0, 1)], axis=1)


def parse(trial: Trial) -> Scenes:
    """Turns the states' text into arrays."""
    ticks, width = len(trial.states), len(trial.grid[0])
    cells = "".join(trial.grid)
    scenes = Scenes(
        np.zeros((ticks, 2, 2), dtype=np.int64),
        np.zeros((ticks, 2), dtype=np.int64),
        np.zeros((ticks, 2), dtype=np.int64),
        np.zeros((ticks, len(cells)), dtype=np.int64),
        np.zeros((ticks, len(cells)), dtype=np.int64),
    )
    for tick, text in enumerate(trial.states):
        state = json.loads(text.replace("'", '"').replace("True", "true").replace("False", "false"))
        for seat, player in enumerate(state["players"]):
            scenes.position[tick, seat] = player["position"]
            scenes.facing[tick, seat] = DIRECTIONS.index(tuple(player["orientation"]))
            if "held_object" in player:
                scenes.held[tick, seat] = 1 + HELD.index(player["held_object"]["name"])
        for order, thing in enumerate(state["objects"].values()):
            x, y = thing["position"]
            scenes.item[tick, y * width + x] = _item(thing, cells[y * width + x])
            scenes.order[tick, y * width + x] = order
    return scenes


def _item(thing: dict, cell: str) -> int:
    if thing["name"] != "soup":
        return {"onion": ONION, "dish": DISH}[thing["name"]]
    if cell != "P":
        return 0
    _, onions, ticks = thing["state"]
    if onions < 3:
        return PARTLY
    return COOKING if ticks < COOK_TICKS else READY


def _of_player(trial: Trial, scenes: Scenes, seat: int) -> NDArray[np.float32]:
    ticks = len(trial.states)
    own, other = scenes.position[:, seat], scenes.position[:, 1 - seat]
    last = np.concatenate([[STAY], trial.actions[:-1, seat]])
    players = [(scenes.held[:, who], scenes.facing[:, who]) for who in (seat, 1 - seat)]
    columns = [
        *(_one_hot(part, 4) for player in players for part in player),
        (other - own) / 5,
        np.abs(other - own).sum(-1, keepdims=True) == 1,
        own / (8, 5),
        *_neighbours(trial, scenes, own, other),
        *_nearest_things(trial, scenes, own),
        np.broadcast_to(np.arange(len(LAYOUTS)) == trial.layout, (ticks, len(LAYOUTS))),
        _one_hot(last, 6),
    ]
    return np.concatenate(columns, axis=-1).astype(np.float32)


def _neighbours(
    trial: Trial, scenes: Scenes, own: NDArray[np.int64], other: NDArray[np.int64]
) -> list[NDArray[np.bool_]]:
    """Kind, partner and object of the four cells around a player; four arrays [n, 8]."""
    kinds = np.array([max(0, CELLS.find(cell)) if cell in CELLS else CELLS.index(" ") for cell in "".join(trial.grid)])
    found, ticks = [], np.arange(len(own))
    for direction in DIRECTIONS:
        place = own + direction
        cell = place[:, 1] * len(trial.grid[0]) + place[:, 0]
        item = scenes.item[ticks, cell]
        partner = (place == other).all(-1)
        laden = (kinds[cell] == CELLS.index("X")) & ((item == ONION) | (item == DISH))
        found.append(np.concatenate([_one_hot(kinds[cell], 6), partner[:, None], laden[:, None]], axis=-1))
    return found


def _nearest_things(trial: Trial, scenes: Scenes, own: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Offsets to the nearest of each kind of thing; nine arrays [n, 3]."""
    cells = np.array(list("".join(trial.grid)))
    reading = np.broadcast_to(np.arange(len(cells)), scenes.item.shape)
    pots = cells == "P"
    things = [(np.broadcast_to(cells == kind, scenes.item.shape), reading) for kind in "OSD"]
    things += [(pots & (scenes.item == state), reading) for state in (0, PARTLY, COOKING, READY)]
    things += [(scenes.item == kind, scenes.order) for kind in (ONION, DISH)]
    return [_nearest(own, present, order, len(trial.grid[0])) for present, order in things]


def _nearest(
    own: NDArray[np.int64], present: NDArray[np.bool_], order: NDArray[np.int64], width: int
) -> NDArray[np.float64]:
    """(dx / 5, dy / 5, 1) to the nearest present cell, the lowest `order` first; zeros where there is none."""
    cells = np.arange(present.shape[1])
    offset = np.stack([cells % width, cells // width], axis=-1) - own[:, None]
    rank = np.abs(offset).sum(-1) * FAR + order
    best = np.where(present, rank, FAR * FAR).argmin(-1)
    exists = present.any(-1, keepdims=True)
    chosen = offset[np.arange(len(own)), best]
    return np.concatenate([np.where(exists, chosen / 5, 0), exists], axis=-1)


def _one_hot(index: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    return index[:, None] == np.arange(size)
