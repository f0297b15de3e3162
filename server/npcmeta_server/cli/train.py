"""`npcmeta train`: from a task family to an archetype and its baseline."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.markup import escape

from npcmeta import __version__, tasks, training
from npcmeta.archetype import Archetype
from npcmeta.header import NAME
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_server.cli.fitting import Job, fit
from npcmeta_server.cli.seeds import checked_seed, checked_split


def train(
    family: str,
    out: Path,
    data: Path | None = None,
    learner: str | None = None,
    meta_steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    split: int = 0,
    name: str | None = None,
    settings: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE")] = (),
    baseline: bool = True,
    overwrite: bool = False,
) -> None:
    """Meta-train an archetype, and fit the baseline it is measured against with the same budget.

    Args:
        family: Task family: arena, character, overcooked, recorded or sinusoid.
        out: Folder for archetype.safetensors and baseline.safetensors. The same command goes on after an interruption.
        data: Recorded demonstrations, for --family recorded: a folder with a sub-folder per character, or one file.
        learner: The learner; each family has a default.
        meta_steps: Outer steps. If neither these nor --minutes are given: arena 16000, character 3000, overcooked 1400,
            recorded 1500, sinusoid 5000.
        minutes: Time budget instead of --meta-steps; the baseline gets as much.
        seed: Fixes all randomness; the same seed and --meta-steps give the same archetype.
        split: Which tasks are held out.
        name: The archetype's name; the folder's name if left out.
        settings: Settings of the learner, for example inner_rate=0.05 hidden=64,64 (one layer: hidden=64,).
        baseline: Fit the baseline as well.
        overwrite: Train anew although --out holds a finished archetype; its NPCs have to be adapted again then.
    """
    console = Console()
    jobs = plan(family, out, data, learner, meta_steps, minutes, seed, split, name, settings, baseline)
    if not overwrite and all(job.path.exists() for job in jobs):
        raise ValueError(f"{out} holds a finished archetype already; choose another --out, or say --overwrite")
    out.mkdir(parents=True, exist_ok=True)
    try:
        notes = fit(jobs, console)
    except KeyboardInterrupt:
        if any(job.checkpoint.exists() for job in jobs):
            console.print("Stopped; the same command goes on from here.")
        raise
    if jobs[0].draft.learner_name == "finetune" and baseline:
        copy_as_baseline(jobs[0].path, out / "baseline.safetensors")
    for note in notes:
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    console.print(escape(f"Next: {following(out, data)}"), soft_wrap=True, highlight=False)


def plan(
    family: str,
    out: Path,
    data: Path | None,
    learner: str | None,
    meta_steps: int | None,
    minutes: float | None,
    seed: int,
    split: int,
    name: str | None,
    settings: tuple[str, ...],
    baseline: bool,
) -> list[Job]:
    """The trainings that the command asks for: the archetype's, and its baseline's."""
    _check_budget(meta_steps, minutes)
    checked_seed(seed)
    checked_split(split)
    known = tasks.check_data(family, data)
    learner = learner or known.learner
    outer = training.choose_outer(family, meta_steps=meta_steps, minutes=minutes)
    overrides = dict(_parsed(item) for item in settings)
    name = name or _slug(out.resolve().name)
    if not NAME.fullmatch(name):
        raise ValueError(f'--name "{name}": expected at most 63 of a-z, 0-9, "-" and "_", the first a letter or digit')
    wanted = [(name, "archetype", learner, overrides)]
    if baseline and learner != "finetune":
        wanted.append((f"{name[:54]}-baseline", "baseline", "finetune", {}))
    return [
        Job(_draft(job_name, family, kind, values), data, split, seed, outer, out / f"{file}.safetensors")
        for job_name, file, kind, values in wanted
    ]


def following(out: Path, data: Path | None) -> str:
    """The command that measures what was trained; recordings to measure it on are not known yet."""
    command = f"npcmeta evaluate {shlex.quote(str(out))}"
    return command if data is None else f"{command} --data PATH  # characters that are not in {data}"


def copy_as_baseline(archetype: Path, path: Path) -> None:
    """A fine-tuning archetype is its own baseline."""
    shutil.copyfile(archetype, path)


def _draft(name: str, family: str, learner: str, overrides: dict[str, Any]) -> Archetype:
    provenance = {
        "npcmeta": __version__,
        "torch": torch.__version__,
        "trained_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    settings = training.choose_settings(family, learner, overrides)
    unknown_yet = BehaviorSpec(0, ActionSpec(0, ()), 0.0), Normaliser((), ())
    return Archetype(name, family, learner, settings, *unknown_yet, {}, provenance, {})


def _check_budget(meta_steps: int | None, minutes: float | None) -> None:
    if meta_steps is not None and meta_steps < 1:
        raise ValueError(f"--meta-steps is {meta_steps}, expected at least 1")
    if minutes is not None and not 0 < minutes < 60 * 24 * 7:
        raise ValueError(f"--minutes is {minutes}, expected more than 0 and less than a week")


def _slug(text: str) -> str:
    slug = "".join(c if c.isalnum() and c.isascii() else "-" for c in text.lower()).strip("-")[:63]
    return slug if NAME.fullmatch(slug) else "archetype"


def _parsed(item: str) -> tuple[str, Any]:
    key, sign, value = item.partition("=")
    if not sign:
        raise ValueError(f'setting "{item}": expected KEY=VALUE')
    for text in (value.lower(), f"[{value.removesuffix(',')}]" if "," in value else ""):
        with contextlib.suppress(json.JSONDecodeError):
            return key, json.loads(text)
    return key, value
