"""The archetypes that a server offers: found in a folder, read once, their policy graphs made ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from npcmeta.archetype import (
    Archetype,
    ArchetypeFileError,
    archetype_from_bytes,
    begin_npc,
    build_learner,
    read_file,
)
from npcmeta.types import Params
from npcmeta_export.parity import ParityError
from npcmeta_export.policy import policy_model

BASELINE = "baseline.safetensors"
"""What `train` writes beside an archetype to measure it against; not offered."""


class Hosted(NamedTuple):
    """An archetype that is served."""

    archetype: Archetype
    data: bytes  # its file, as it was when the server started
    model: bytes  # its policy graph
    first_state: Params  # the acting state of an unadapted NPC, with a task axis of 1

    @property
    def state_bytes(self) -> int:
        """Bytes of acting state of one NPC."""
        return sum(value.numel() * value.element_size() for value in self.first_state.values())


class Catalog(NamedTuple):
    """All that is offered, by name, and what was found and cannot be."""

    hosted: dict[str, Hosted]
    problems: tuple[str, ...]
    beside: Mapping[str, Sequence[Hosted]] = MappingProxyType(
        {}
    )  # other revisions of the same archetypes, which NPCs still act with


def load(folder: Path) -> Catalog:
    """Reads every archetype file in a folder and in its sub-folders, but for baselines.

    Raises:
        ValueError: If there is no such folder, or two archetypes have the same name.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; expected one that holds archetypes, as train writes them")
    found: dict[str, Hosted] = {}
    paths: dict[str, Path] = {}
    problems = []
    for path in archetype_files(folder):
        try:
            hosted = host(path)
        except ArchetypeFileError as error:
            problems.append(str(error))
            continue
        name = hosted.archetype.name
        if name in found:
            raise ValueError(
                f'{path} and {paths[name]} are both called "{name}", expected one file of a name. If one is to take '
                f"the other's place, move it out of {folder} and give it to the running server with npcmeta archetype "
                "upload; if they are different archetypes, train one of them again with another --name"
            )
        found[name], paths[name] = hosted, path
    if not found:
        expected = "expected .safetensors files in it, or in folders right below it, as train writes them"
        problems.insert(0, f"{folder} holds no archetype that can be served; {expected}")
    return Catalog(found, tuple(problems))


def files(catalog: Catalog) -> dict[str, bytes]:
    """The files of all revisions, by revision."""
    found = [*catalog.hosted.values(), *(each for others in catalog.beside.values() for each in others)]
    return {hosted.archetype.revision: hosted.data for hosted in found}


def archetype_files(folder: Path) -> Iterator[Path]:
    """The archetype files to offer, in order."""
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")]):
        if path.name != BASELINE:
            yield path


def host(path: Path) -> Hosted:
    """Reads one archetype and makes its policy graph, which is checked against torch.

    Raises:
        ArchetypeFileError: If the file is not an intact archetype, or onnxruntime decides otherwise than torch.
    """
    return host_bytes(read_file(path), source=str(path))


def host_bytes(data: bytes, *, source: str) -> Hosted:
    """The same of a file's content; `source` names it in errors."""
    archetype = archetype_from_bytes(data, source=source)
    state = begin_npc(archetype, archetype.name).state
    acting = {key: state[key] for key in build_learner(archetype).acting}
    try:
        return Hosted(archetype, data, policy_model(archetype).SerializeToString(), acting)
    except ParityError as error:
        raise ArchetypeFileError(f"{source}: {error}") from error
