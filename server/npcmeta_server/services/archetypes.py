"""ArchetypeService: what the server offers."""

from __future__ import annotations

from npcmeta_server import messages, names
from npcmeta_server.catalog import Catalog
from npcmeta_server.gen.npcmeta.v1 import archetypes_pb2, resources_pb2
from npcmeta_server.roster import Roster
from npcmeta_server.services import paging


class Archetypes:
    """Answers ArchetypeService."""

    def __init__(self, catalog: Catalog, roster: Roster) -> None:
        """Offers what is in the catalog."""
        self._catalog, self._roster = catalog, roster

    async def list_archetypes(
        self, request: archetypes_pb2.ListArchetypesRequest
    ) -> archetypes_pb2.ListArchetypesResponse:
        """A page of archetypes in order of name."""
        size = paging.checked_size(request.page_size)
        after = paging.after(request)
        behind = sorted(name for name in self._catalog.hosted if name > after)
        page, more = paging.cut(behind, size)
        return archetypes_pb2.ListArchetypesResponse(
            archetypes=[messages.archetype(self._catalog.hosted[name]) for name in page],
            next_page_token=paging.token(request, page[-1]) if more else "",
        )

    async def get_archetype(self, request: archetypes_pb2.GetArchetypeRequest) -> resources_pb2.Archetype:
        """One archetype."""
        return messages.archetype(self._roster.hosted(names.archetype_id(request.name)))
