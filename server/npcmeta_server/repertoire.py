"""The repertoire: which archetype revisions act, and which of each archetype is given to new NPCs."""

from __future__ import annotations

from npcmeta_server.catalog import Catalog, Hosted
from npcmeta_server.errors import ServiceError


class Repertoire:
    """Archetype revisions by name. The event loop changes it; any thread may read."""

    def __init__(self, catalog: Catalog) -> None:
        """Begins with what a catalog holds."""
        self._current = dict(catalog.hosted)
        self._revisions = {
            name: {each.archetype.revision: each for each in (hosted, *catalog.beside.get(name, ()))}
            for name, hosted in catalog.hosted.items()
        }

    @property
    def names(self) -> list[str]:
        """The archetypes, in order."""
        return sorted(self._current)

    def __contains__(self, name: str) -> bool:
        """Whether an archetype is offered."""
        return name in self._current

    def current_revision(self, name: str) -> str:
        """The revision that new NPCs of an archetype get; empty: it is not offered."""
        return self._current[name].archetype.revision if name in self._current else ""

    def current(self, name: str) -> Hosted:
        """What new NPCs of an archetype are made with, or ARCHETYPE_NOT_FOUND."""
        hosted = self._current.get(name)
        if hosted is None:
            raise ServiceError(
                "ARCHETYPE_NOT_FOUND",
                f"there is no archetypes/{name}; offered are: {', '.join(self.names[:20])}",
                archetype=name,
            )
        return hosted

    def revision(self, name: str, revision: str) -> Hosted | None:
        """A revision that acts, if there is one."""
        return self._revisions.get(name, {}).get(revision)

    def acting(self, name: str, revision: str, npc: str) -> Hosted:
        """The revision that an NPC was adapted with, or REVISION_UNAVAILABLE."""
        found = self.revision(name, revision)
        if found is None:
            raise unavailable(name, revision, npc)
        return found

    def revisions(self, name: str) -> list[Hosted]:
        """All revisions of an archetype that act, the current one first."""
        current = self.current(name)
        return [current, *(each for each in self._revisions[name].values() if each is not current)]

    def add(self, hosted: Hosted) -> None:
        """Lets a revision act; that of an archetype that was not offered is the current one."""
        name = hosted.archetype.name
        self._revisions.setdefault(name, {})[hosted.archetype.revision] = hosted
        self._current.setdefault(name, hosted)

    def make_current(self, name: str, revision: str) -> None:
        """Gives a revision that acts to new NPCs."""
        self._current[name] = self._revisions[name][revision]

    def remove(self, name: str, revision: str) -> None:
        """Lets a revision act no more; if it is the current one, which has to be the last, the archetype is gone."""
        removed = self._revisions[name].pop(revision)
        if self._current[name] is removed:
            del self._current[name], self._revisions[name]


def unavailable(archetype: str, revision: str, npc: str) -> ServiceError:
    """Says that an NPC was adapted by an archetype revision that is not loaded."""
    return ServiceError(
        "REVISION_UNAVAILABLE",
        f"npcs/{npc} was adapted by revision {revision[:12]} of archetypes/{archetype}, which is not loaded here; "
        "adapt it again, or upload that revision",
        npc=npc,
        archetype=archetype,
        archetype_revision=revision,
    )
