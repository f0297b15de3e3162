"""The demo's report: one HTML page with the table, the pictures, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npcmeta.archetype import Archetype
from npcmeta.tasks.arena.play import ARENAS, Trajectory
from npcmeta.tasks.arena.statistics import QUANTITIES
from npcmeta_server.demo.cast import DEMONSTRATIONS, Cast
from npcmeta_server.demo.closed_loop import ClosedLoop
from npcmeta_server.demo.scenes import Live
from npcmeta_server.demo.scores import mean
from npcmeta_server.report import page, pictures


class Story(NamedTuple):
    """All that the report tells."""

    archetype: Archetype
    cast: Cast
    rows: list[dict[str, Any]]
    loop: ClosedLoop | None
    live: Live | None
    adaptation_ms: list[float]
    assets: list[Path]
    folder: Path
    recordings: Path | None  # where the demonstrations lie as files


def write_report(story: Story, path: Path) -> Path:
    """Writes the page and returns its path."""
    page.write_page(path, "npcmeta: from demonstrations to characters", _parts(story))
    return path


def _parts(story: Story) -> Iterator[str]:
    most = max(DEMONSTRATIONS)
    yield page.paragraph(
        f"An archetype was meta-trained on the family “{story.archetype.family}” with the learner "
        f"“{story.archetype.learner_name}”. A game then showed it {most} demonstrations or fewer of each of "
        f"{len(story.cast.names)} characters that it had never met, over gRPC.",
        lead=True,
    )
    yield page.heading("How much of each character was caught")
    yield page.table(("", "NLL", "NLL, fine-tuned", "gap closed", "gap closed, fine-tuned"), _table_rows(story))
    yield page.paragraph(
        "NLL is the negative log-likelihood of what the character really did elsewhere, in nats per decision; lower is "
        "better. “Gap closed” compares behaviour in the closed loop: 0 % behaves like the average policy, 100 % "
        "like the character. The ceiling is the same network trained on 50,000 steps of one character."
    )
    seconds = story.cast.examples / story.archetype.spec.tick_rate_hz
    yield page.picture(
        _curves(story),
        f"Quality against the number of demonstrations. Each is {story.cast.examples} decisions long, which is "
        f"{seconds:g} seconds of play.",
    )
    if story.loop is not None:
        yield page.heading("What it looks like")
        caption = (
            "The two characters that are least alike, in the same eight arenas: as the average policy plays them, "
            "after adapting, and as they really are. Each line is the path of one game, around the post that it "
            "keeps (the star)."
        )
        yield page.picture(pictures.draw_paths(_paths(story, story.loop)), caption)
        caption = (
            "What the same two did over 64 arenas, quantity by quantity, against the spread between characters: "
            "adapting moves the average policy (grey) to the character (black)."
        )
        yield page.picture(pictures.draw_behaviour(QUANTITIES, _behaviour(story, story.loop)), caption)
    if story.live is not None:
        yield page.heading("Acting while others adapt")
        yield page.picture(
            pictures.draw_frames(story.live.milliseconds, story.live.adapting, story.live.npcs),
            f"Median {np.median(story.live.milliseconds):.1f} ms; adapting an NPC from {most} demonstrations took "
            f"{np.median(story.adaptation_ms):.0f} ms (median) until it was committed on disk.",
        )
    yield page.heading("What was exported")
    yield page.table(("file", "KB"), [(str(path), f"{path.stat().st_size / 1000:.0f}") for path in story.assets])
    yield page.heading("What to do next")
    yield page.commands(_next_steps(story))


def _table_rows(story: Story) -> list[tuple[str, ...]]:
    loop, rows = story.loop, story.rows
    shown: list[tuple[str, ...]] = [
        ("average policy", f"{mean(rows, 'nll_average', 0):.3f}", "", _percent(0.0 if loop else None), "")
    ]
    for k in DEMONSTRATIONS:
        label = "zero-shot" if k == 0 else f"{k} demonstration{'s' * (k > 1)}"
        shown.append(
            (
                label,
                f"{mean(rows, 'nll', k):.3f}",
                f"{mean(rows, 'nll_finetune', k):.3f}" if k else "",
                _percent(loop.gap_closed[f"adapted {k}"] if loop else None),
                _percent(loop.gap_closed[f"finetune {k}"]) if loop and k else "",
            )
        )
    if loop is not None:
        shown.append(("imitation ceiling", "", "", _percent(loop.gap_closed["ceiling"]), ""))
        shown.append(("expert", "", "", _percent(1.0), ""))
    return shown


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _curves(story: Story) -> Any:
    rows, loop = story.rows, story.loop
    nll = {
        "adapted": [mean(rows, "nll", k) for k in DEMONSTRATIONS],
        "fine-tuned": [mean(rows, "nll_finetune", k) for k in DEMONSTRATIONS],
        "average": [mean(rows, "nll_average", k) for k in DEMONSTRATIONS],
    }
    if loop is None:
        return pictures.draw_shots(DEMONSTRATIONS, {"NLL, nats per decision": nll}, {})
    gap = {
        "adapted": [loop.gap_closed[f"adapted {k}"] for k in DEMONSTRATIONS],
        "fine-tuned": [loop.gap_closed[f"finetune {k}"] if k else 0.0 for k in DEMONSTRATIONS],
    }
    measures = {"gap closed (1 = the character)": gap, "NLL, nats per decision": nll}
    return pictures.draw_shots(DEMONSTRATIONS, measures, {"imitation ceiling": loop.gap_closed["ceiling"]})


def _shown(loop: ClosedLoop) -> list[int]:
    """The characters that were watched."""
    return sorted({row // ARENAS for row in loop.trajectories["expert"]})


def _paths(story: Story, loop: ClosedLoop) -> dict[str, dict[str, list[Trajectory]]]:
    most = max(DEMONSTRATIONS)
    columns = {
        "average policy": "average",
        "after 1 demonstration": "adapted 1",
        f"after {most} demonstrations": f"adapted {most}",
        "the character": "expert",
    }
    return {
        story.cast.names[character]: {
            title: [path for row, path in loop.trajectories[key].items() if row // ARENAS == character]
            for title, key in columns.items()
        }
        for character in _shown(loop)
    }


def _behaviour(story: Story, loop: ClosedLoop) -> dict[str, dict[str, np.ndarray]]:
    most = max(DEMONSTRATIONS)
    ways = {"average policy": "average", f"after {most} demonstrations": f"adapted {most}", "the character": "expert"}
    return {
        story.cast.names[character]: {title: loop.behaviour[key][character] for title, key in ways.items()}
        for character in _shown(loop)
    }


def _next_steps(story: Story) -> list[str]:
    folder = story.folder / "archetypes" / story.archetype.family
    recordings, clip = "YOUR_RECORDINGS", "CLIP.npz"
    if story.recordings is not None:
        recordings, clip = str(story.recordings), str(story.recordings / story.cast.names[0] / "01.npz")
    return [
        f"npcmeta evaluate {folder} --shots 0,20,50,200",
        f"npcmeta data inspect {recordings}",
        f"npcmeta train --family recorded --data {recordings} --out runs/mine",
        f"npcmeta adapt {folder} --demo {clip} --out npc.safetensors",
        f"npcmeta export {folder} --npc npc.safetensors --target ort --out assets",
        f"npcmeta serve --archetypes {story.folder / 'archetypes'}",
    ]
