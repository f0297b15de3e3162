"""`npcmeta evaluate`: archetypes side by side at every number of shots, always beside average and fine-tuning."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from npcmeta import evaluate as scoring
from npcmeta import tasks
from npcmeta.archetype import Archetype, build_learner, draw_state_noise, load_archetype
from npcmeta.types import BehaviorSpec, NamedTasks, TaskFamily
from npcmeta_server.cli import results, score_tables
from npcmeta_server.cli.score_tables import counted
from npcmeta_server.cli.seeds import checked_seed

PICTURES = (".png", ".svg", ".pdf", ".jpg", ".webp")


class Contender(NamedTuple):
    """One line of the table: an archetype, and whether it adapts."""

    label: str
    learner: str
    archetype: Archetype
    adapts: bool


def evaluate(
    archetypes: Annotated[tuple[Path, ...], tyro.conf.Positional],
    data: Path | None = None,
    shots: str = "0,20,50",
    seed: int = 0,
    json: Path | None = None,
    plot: Path | None = None,
    include_trained: bool = False,
) -> None:
    """Measure archetypes on held-out tasks: NLL in nats per decision, at every number of shots.

    Args:
        archetypes: Archetype files, or folders that train wrote.
        data: Recorded demonstrations of characters to evaluate on; all of them must be unseen.
        shots: Numbers of support examples, separated by commas.
        seed: Fixes the noise of learners that draw their state.
        json: Where to write the rows.
        plot: Where to draw the curves; beside the JSON file if left out, and nowhere without one.
        include_trained: Evaluate even on tasks that an archetype was trained on.
    """
    console = Console()
    torch.set_num_threads(1)
    wanted, seed = parse_shots(shots), checked_seed(seed)
    loaded = [load_archetype(archetype_file(path)) for path in archetypes]
    if not loaded:
        raise ValueError("no archetype was given; expected files, or folders that npcmeta train wrote")
    found = baselines(archetypes)
    contenders = line_up(loaded, found)
    family = evaluation_family(loaded + found, data, include_trained)
    if plot is not None and plot.suffix.lower() not in PICTURES:
        raise ValueError(f"--plot {plot}: expected a file name that ends in one of: {', '.join(PICTURES)}")
    results.reserve(json, plot)
    rows = list(measure(contenders, family, wanted, seed, console))
    if not rows:
        raise ValueError(f'no character has enough examples for --shots "{shots}"; ask for fewer')
    score_tables.show(rows, console)
    if json is not None:
        json.write_text(jsonlib.dumps({"rows": rows, "seed": seed}, indent=1))
        console.print(escape(f"rows:   {json}"), soft_wrap=True)
    plot = plot or (json.with_suffix(".png") if json else None)
    if plot is not None:
        from npcmeta_server.report.curves import draw_curves

        draw_curves(rows, plot)
        console.print(escape(f"curves: {plot}"), soft_wrap=True)


def parse_shots(text: str) -> list[int]:
    """Numbers of shots from "0,20,50", in rising order."""
    try:
        shots = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise ValueError(f'--shots "{text}": expected whole numbers separated by commas, for example 0,20,50') from None
    if shots[0] < 0 or shots[-1] > 100_000:
        raise ValueError(f'--shots "{text}": expected numbers from 0 to 100000')
    return shots


def archetype_file(path: Path) -> Path:
    """The archetype file that a path means: itself, or that in a folder which `train` wrote."""
    return path / "archetype.safetensors" if path.is_dir() else path


def baselines(paths: Iterable[Path]) -> list[Archetype]:
    """The baselines beside the archetypes; of those with the same weights and settings, one.

    Raises:
        ValueError: If there is none at all.
    """
    files = [archetype_file(path).parent / "baseline.safetensors" for path in paths]
    found: list[Archetype] = []
    for file in files:
        baseline = load_archetype(file) if file.exists() else None
        if baseline is not None and not any(_plays_the_same(baseline, other) for other in found):
            found.append(baseline)
    if not found:
        raise ValueError(
            f"there is no {files[0]}: every table needs the baseline; train without --no-baseline, or copy it there"
        )
    return found


def _plays_the_same(one: Archetype, other: Archetype) -> bool:
    return (
        (one.settings, one.spec, one.normaliser) == (other.settings, other.spec, other.normaliser)
        and one.meta.keys() == other.meta.keys()
        and all(torch.equal(value, other.meta[key]) for key, value in one.meta.items())
    )


def line_up(archetypes: list[Archetype], found: list[Archetype]) -> list[Contender]:
    """Who is compared: the archetypes, and every baseline unadapted and fine-tuned."""
    own = {a.revision: a for a in archetypes if not any(_plays_the_same(a, baseline) for baseline in found)}
    names = [a.name for a in (*own.values(), *found)]

    def label(archetype: Archetype) -> str:
        """Its name, with the beginning of its revision where others are called the same."""
        return archetype.name if names.count(archetype.name) == 1 else f"{archetype.name}@{archetype.revision[:8]}"

    contenders = [Contender(label(a), a.learner_name, a, True) for a in own.values()]
    for baseline in found:
        contenders += [
            Contender(label(baseline), "average", baseline, False),
            Contender(label(baseline), "finetune", baseline, True),
        ]
    return contenders


def evaluation_family(archetypes: list[Archetype], data: Path | None, include_trained: bool) -> TaskFamily:
    """The tasks to evaluate on: those of `data`, or those that the archetypes' split held out.

    Raises:
        ValueError: If the archetypes do not fit together or the data, or were trained on these tasks.
    """
    first = archetypes[0]
    for other in archetypes[1:]:
        if _kind(other) != _kind(first):
            raise ValueError(
                f'"{other.name}" cannot be compared with "{first.name}": it is of {_kind_in_words(other)}; expected '
                f"{_kind_in_words(first)}"
            )
    if data is None:
        if tasks.find(first.family).needs_data or "seed" not in first.split:
            why = "was trained on recordings" if first.split else "does not say which split it was trained on"
            raise ValueError(f"this archetype {why}: name unseen ones with --data PATH")
        return tasks.load_splits(first.family, None, first.split["seed"]).test
    from npcmeta.tasks import recorded

    trained = {} if include_trained else seen_by(archetypes)
    return recorded.evaluation_family(data, first.spec, trained=trained)


def _kind(archetype: Archetype) -> tuple[str, int | None, BehaviorSpec]:
    return archetype.family, archetype.split.get("seed"), archetype.spec


def _kind_in_words(archetype: Archetype) -> str:
    family, split, spec = _kind(archetype)
    return f"family {family}, split {split}, {spec.in_words}"


def seen_by(archetypes: list[Archetype]) -> dict[str, str]:
    """Digests of recordings that an archetype was trained on, and what they were called."""
    seen: dict[str, str] = {}
    for archetype in archetypes:
        for part in ("train", "validation"):
            known = archetype.split.get(part)
            if isinstance(known, dict):
                seen |= {digest: name for name, digest in known.items()}
    return seen


def measure(
    contenders: list[Contender], family: TaskFamily, shots: list[int], seed: int, console: Console
) -> Iterator[dict[str, Any]]:
    """One row for each contender and number of shots."""
    work = [(contender, k) for k in shots for contender in contenders]
    evaluated = {k: family.evaluation(k) for k in shots}
    everybody = max((len(named.ids) for named in evaluated.values()), default=0)
    for k, named in evaluated.items():
        missing = everybody - len(named.ids)
        if missing:
            are = "is" if missing == 1 else "are"
            needed = f"too short for {k} shots, which need {2 * k} examples"
            console.print(f"[yellow]note:[/] {missing} of {counted(everybody)} {are} {needed}")
    for contender, k in track(work, "evaluating", console=console, transient=True):
        if evaluated[k].ids:
            yield measure_one(contender, evaluated[k], k, seed)


def measure_one(contender: Contender, named: NamedTasks, shots: int, seed: int) -> dict[str, Any]:
    """Adapts a contender to every task and judges it."""
    learner = build_learner(contender.archetype)
    noise = draw_state_noise(learner, range(seed, seed + len(named.ids)))
    scores = scoring.evaluate(
        learner, contender.archetype.meta, noise, named.task, adapted=contender.adapts and shots > 0
    )
    unit = tasks.find(contender.archetype.family).unit
    return scoring.row(contender.label, contender.learner, shots, named, scores, unit)
