"""The archive: archetype files that the store keeps, so that no NPC is lost when the folder gets a newer file."""

from __future__ import annotations

from collections.abc import Mapping

from npcmeta.archetype import ArchetypeFileError
from npcmeta_server import catalog
from npcmeta_server.catalog import Catalog, Hosted
from npcmeta_server.store import ONCE, Store, archetypes
from npcmeta_server.store.archetypes import ArchetypeRow


def settle(folder: Catalog, store: Store) -> Catalog:
    """What a server begins with, on the store's thread.

    A file that is new in the folder is kept and becomes its archetype's current revision; one that was there before
    changes nothing, whatever was uploaded since. Beside the current revisions stand those that NPCs act with.

    Raises:
        ValueError: If there is nothing to offer.
    """
    known, used = store.do(archetypes.everything), store.do(archetypes.counts)
    hosted: dict[str, Hosted] = {}
    beside: dict[str, list[Hosted]] = {}
    problems = list(folder.problems)
    for name in sorted({*folder.hosted, *known}):
        found = _revisions(store, name, known.get(name), folder.hosted.get(name), used.get(name, {}), problems)
        if found:
            hosted[name], *beside[name] = found
    if not hosted:
        raise ValueError("; ".join(problems))
    return Catalog(hosted, tuple(problems), beside)


def _revisions(
    store: Store,
    name: str,
    row: ArchetypeRow | None,
    file: Hosted | None,
    used: Mapping[str, int],
    problems: list[str],
) -> list[Hosted]:
    """The revisions of an archetype that have to act, the current one first; none if it was retired."""
    needed = [_kept(store, name, revision, file, problems) for revision in used]
    acting = {each.archetype.revision: each for each in needed if each is not None}
    current = row.current if row else ""
    if file is not None and (row is None or row.in_folder != file.archetype.revision):
        clash = next((each for each in acting.values() if each.archetype.spec != file.archetype.spec), None)
        if clash is None:
            current = file.archetype.revision
            store.do(archetypes.keep, name, current, file.data, current=True, from_folder=True, request=ONCE)
        else:
            problems.append(
                f"archetypes/{name}: the file's revision {file.archetype.revision[:12]} sees or decides otherwise than "
                f"{clash.archetype.revision[:12]}, with which {used[clash.archetype.revision]} NPCs act; train it "
                "under another name"
            )
            current = current or clash.archetype.revision
    if not current:
        problems.append(f"archetypes/{name}: is retired; upload it again to offer it")
        return []
    first = acting.pop(current, None) or _kept(store, name, current, file, problems)
    return [*([first] if first else []), *acting.values()]


def _kept(store: Store, name: str, revision: str, file: Hosted | None, problems: list[str]) -> Hosted | None:
    """A revision from the folder or from the store, if it is there and intact."""
    if file is not None and file.archetype.revision == revision:
        return file
    data = store.do(archetypes.data, revision)
    if data is None:
        return None  # from before files were kept: its NPCs are told to be adapted again
    try:
        return catalog.host_bytes(data, source=f"archetypes/{name}, revision {revision[:12]} in the store")
    except ArchetypeFileError as error:
        problems.append(str(error))
        return None
