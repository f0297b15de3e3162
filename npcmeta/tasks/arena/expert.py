"""The expert: a utility AI whose hidden personality decides what each goal is worth.

Its action is a function of (observation, personality) and a little noise; it has no memory of its own. What takes
time (patience, reaction) is read off the observed times since events, so whoever sees the same can imitate it.
"""

from __future__ import annotations

import numpy as np

from npcmeta.tasks.arena.geometry import Bools, Floats, Integers
from npcmeta.tasks.arena.observe import FEATURES, RANGE
from npcmeta.tasks.arena.personality import TRAITS
from npcmeta.tasks.arena.state import ATTACK, BLOCK, CALL, CHOICES, INTERACT, REACH

GOALS = ("guard", "fight", "hide", "collect", "accompany", "linger")
SHARPNESS = 6.0
"""How decisively the best goal wins: inverse temperature of the softmax over utilities."""
COMMITMENT = 0.2
"""What a goal gains when the last move already led there."""
MOVE_NOISE = 0.1
"""Standard deviation of each move axis."""

Named = dict[str, Floats]


def draw_noise(rng: np.random.Generator, rows: int) -> Floats:
    """Noise for `act`, [rows, 7]: two standard normal numbers and five standard Gumbel ones."""
    normal = rng.standard_normal((rows, 2), dtype=np.float32)
    gumbel = -np.log(rng.standard_exponential((rows, len(CHOICES)), dtype=np.float32) + np.float32(1e-9))
    return np.concatenate([normal, gumbel], 1)


def act(observation: Floats, mask: Bools, personality: Floats, noise: Floats) -> tuple[Floats, Integers]:
    """What characters do: the move [A, 2] in [-1, 1] and the choice [A].

    Args:
        observation: [A, O] as `observe` gives it.
        mask: [A, 5] what is allowed.
        personality: [A, 12] one character for each row.
        noise: [A, 7] as `draw_noise` gives it; zeros give the most likely action.
    """
    seen = dict(zip(FEATURES, np.ascontiguousarray(observation.T), strict=True))
    traits = dict(zip(TRAITS, np.ascontiguousarray(personality.T), strict=True))
    alert = _alert(seen, traits)
    move = _move(seen, traits, alert) + np.float32(MOVE_NOISE) * noise[:, :2].T
    logits = np.where(mask.T, choice_logits(seen, traits, alert), np.float32(-1e8))
    choice = (logits + noise[:, 2:].T).argmax(0)
    return np.ascontiguousarray(np.clip(move, -1, 1).T), choice


def choice_logits(seen: Named, traits: Named, alert: Floats) -> Floats:
    """Unmasked logits of the five choices, [5, A]."""
    logits = np.zeros((len(CHOICES), len(alert)), np.float32)
    pause = np.float32(2.5) * traits["patience"]
    ready = _after(_seconds(seen, "own_attack"), pause)
    bold = _more(traits["aggression"], np.float32(0.2) + np.float32(0.5) * traits["caution"] * (1 - seen["health"]))
    logits[ATTACK] = 9 * alert * ready * bold - 5

    close = (seen["threat_distance"] * RANGE < 2.8) & (seen["threat_windup"] > 0)
    pressed = np.maximum(close, np.float32(0.6) * (_seconds(seen, "hit") < 0.5))
    logits[BLOCK] = 9 * pressed * _more(traits["blocking"], np.float32(0.4)) - 5

    at_item = seen["item_distance"] * RANGE < REACH
    wish = np.maximum(at_item * _more(traits["greed"], np.float32(0.3)),
                      seen["player_hurt"] * _more(traits["sociability"], np.float32(0.4)))  # fmt: skip
    logits[INTERACT] = 9 * wish - 5

    need = np.maximum(np.float32(0.8) * alert, _more(np.float32(0.5), seen["health"]))
    again = _after(_seconds(seen, "own_call"), 2 + 4 * traits["patience"])
    logits[CALL] = 9 * need * again * _more(traits["calling"], np.float32(0.45)) - 5
    return logits


def utilities(seen: Named, traits: Named, alert: Floats) -> Floats:
    """What each of `GOALS` is worth now, [6, A]."""
    post, player, item, threat = (seen[f"{name}_distance"] * RANGE for name in ("post", "player", "item", "threat"))
    wounded = 1 - seen["health"]
    danger = alert * np.clip(np.float32(1.5) - threat / 8, 0, 1)
    hold = np.float32(0.5) + 5 * traits["patience"]
    lately = (1 - seen["threat_visible"]) * (1 - _after(_seconds(seen, "threat_seen"), hold))
    worth = np.empty((len(GOALS), len(alert)), np.float32)
    worth[0] = traits["loyalty"] * (np.float32(0.4) + np.float32(0.9) * np.clip((post - 1) / 4, 0, 1))
    worth[1] = traits["aggression"] * (alert + np.float32(0.5) * lately) * np.float32(1.3)
    worth[2] = traits["caution"] * (danger * (np.float32(0.7) + wounded) + np.float32(0.9) * lately)
    worth[3] = traits["greed"] * (np.float32(1.2) - np.float32(0.6) * np.clip(item / 10, 0, 1))
    worth[4] = traits["sociability"] * (
        np.float32(0.4) + np.float32(0.7) * np.clip((player - 2) / 5, 0, 1) + np.float32(0.4) * seen["player_hurt"]
    )
    worth[5] = 0.3
    return worth


def _move(seen: Named, traits: Named, alert: Floats) -> Floats:
    """The move before noise, [2, A]: the goals' directions, weighted by a softmax over what they are worth."""
    turn = 2 * traits["turning"] - 1
    ways = np.zeros((len(GOALS), 2, len(alert)), np.float32)
    ways[0] = _circle(seen, "post", np.float32(1.2), turn)
    ways[1] = _circle(seen, "threat", np.float32(1.0) + 5 * traits["distance"], turn)
    ways[2] = _approach(seen, "hiding")
    ways[3] = _approach(seen, "item")
    ways[4] = _circle(seen, "player", np.float32(2.0), turn)
    kept = ways[:, 0] * seen["last_move_x"] + ways[:, 1] * seen["last_move_y"]
    worth = np.float32(SHARPNESS) * (utilities(seen, traits, alert) + np.float32(COMMITMENT) * kept)
    weight = np.exp(worth - worth.max(0))
    weight /= weight.sum(0)
    way = (weight[:, None] * ways).sum(0)
    return way * (np.float32(0.4) + np.float32(0.55) * traits["pace"])


def _alert(seen: Named, traits: Named) -> Floats:
    """1 when a threat is in sight and has been long enough to be noticed, else 0; smooth in between."""
    delay = np.float32(0.1) + np.float32(1.6) * traits["reaction"]
    return seen["threat_visible"] * _after(_seconds(seen, "threat_appeared"), delay)


def _circle(seen: Named, name: str, radius: Floats | np.floating, turn: Floats) -> Floats:
    """Keeps `radius` metres from a place while circling it; `turn` from -1 to 1 is which way and how fast."""
    x, y = seen[f"{name}_x"], seen[f"{name}_y"]
    inward = np.clip((seen[f"{name}_distance"] * RANGE - radius) / np.float32(1.5), -1, 1)
    around = turn * (1 - np.float32(0.7) * np.abs(inward))
    return np.stack([x * inward - y * around, y * inward + x * around])


def _approach(seen: Named, name: str) -> Floats:
    """Straight to a place, slowing down on the last metre."""
    speed = np.clip(seen[f"{name}_distance"] * RANGE, 0, 1)
    return np.stack([seen[f"{name}_x"] * speed, seen[f"{name}_y"] * speed])


def _seconds(seen: Named, event: str) -> Floats:
    """Seconds since an event, from the observed t / (t + 1)."""
    share = seen[f"since_{event}"]
    return share / (np.float32(1.0001) - share)


def _after(seconds: Floats, delay: Floats) -> Floats:
    """0 before the delay is over, 1 after it, smooth within about a tick."""
    return _sigmoid((seconds - delay) / np.float32(0.12))


def _more(a: Floats | np.floating, b: Floats | np.floating) -> Floats:
    """1 when a is clearly more than b, 0 when clearly less."""
    return _sigmoid(np.float32(10) * (a - b))


def _sigmoid(x: Floats | np.floating) -> Floats:
    return np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * x)
