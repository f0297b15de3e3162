"""`npcmeta npc`: the NPCs of a running server, listed, made, changed, and carried elsewhere as files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from npcmeta.header import checked_name
from npcmeta_server.cli.calling import Name, Reached, Services, full_name, one_of
from npcmeta_server.cli.seeds import checked_seed
from npcmeta_server.cli.teaching import adapt
from npcmeta_server.cli.telling import line, plain, say, show, when
from npcmeta_server.gen.npcmeta.v1 import assets_pb2, npcs_pb2, resources_pb2

SHOWN_REVISIONS = 20


def list_npcs(
    connection: Reached, archetype: str = "", text: str = "", min_examples: int = 0, json: bool = False
) -> None:
    """List NPCs, in order of name.

    Args:
        archetype: Only those of this archetype.
        text: Only those whose id or display name holds this.
        min_examples: Only those adapted from at least as many examples.
        json: Write a line of JSON for each instead of a table.
        connection: How the server is reached.
    """
    wanted = npcs_pb2.ListNpcsRequest(text=text, min_examples=min_examples, page_size=1000)
    wanted.archetype = full_name("archetypes", archetype) if archetype else ""
    with connection.services() as services:
        _show(list(_pages(services, wanted)), json=json)


def get(name: Name, connection: Reached, json: bool = False) -> None:
    """Show an NPC and its newest revisions.

    Args:
        name: Its id, or npcs/{npc}.
        json: Write JSON instead of tables.
        connection: How the server is reached.
    """
    npc = full_name("npcs", name)
    with connection.services() as services:
        found = services.npcs.get_npc(npcs_pb2.GetNpcRequest(name=npc))
        page = npcs_pb2.ListRevisionsRequest(parent=npc, page_size=SHOWN_REVISIONS)
        revisions = services.npcs.list_revisions(page).revisions
    _show([found], json=json)
    if json:
        return
    table = Table("revision", "examples", "NLL", "archetype revision", "made", "")
    for each in revisions:
        acts = "acts" if each.name == found.revision else ""
        made = when(each.create_time)
        row = (f"{each.number}", f"{each.examples:,}", f"{each.support_nll:.4g}", each.archetype_revision[:12], made)
        table.add_row(*row, acts)
    show(table)
    say(f"seed {found.seed}, etag {found.etag}")


def create(archetype: Name, connection: Reached, npc_id: str = "", display_name: str = "", seed: int = 0) -> None:
    """Make an NPC.

    Args:
        archetype: Of which archetype.
        npc_id: Its id; the server makes one if it is left out.
        display_name: What people call it.
        seed: Fixes its random numbers; 0 lets the server choose.
        connection: How the server is reached.
    """
    npc = resources_pb2.Npc(
        archetype=full_name("archetypes", archetype), display_name=display_name, seed=checked_seed(seed)
    )
    with connection.services() as services:
        request = npcs_pb2.CreateNpcRequest(npc_id=npc_id, npc=npc)
        _say_done("created", services.npcs.create_npc(request))


def clone(name: Name, connection: Reached, npc_id: str = "", display_name: str = "", seed: int = 0) -> None:
    """Make an NPC that begins as another one is.

    Args:
        name: Who is cloned.
        npc_id: The clone's id; the server makes one if it is left out.
        display_name: What people call the clone; as its source if it is left out.
        seed: Fixes the clone's random numbers; 0 lets the server choose, that of its source draws the same actions.
        connection: How the server is reached.
    """
    npc = resources_pb2.Npc(display_name=display_name, seed=checked_seed(seed))
    with connection.services() as services:
        request = npcs_pb2.CloneNpcRequest(source=full_name("npcs", name), npc_id=npc_id, npc=npc)
        _say_done("cloned", services.npcs.clone_npc(request))


def rename(name: Name, display_name: Annotated[str, tyro.conf.Positional], connection: Reached, etag: str = "") -> None:
    """Change what people call an NPC. Its id stays.

    Args:
        name: Which one.
        display_name: What people are to call it; may be empty.
        etag: Change it only if this is its etag.
        connection: How the server is reached.
    """
    npc = resources_pb2.Npc(name=full_name("npcs", name), display_name=display_name)
    with connection.services() as services:
        _say_done("renamed", services.npcs.update_npc(npcs_pb2.UpdateNpcRequest(npc=npc, etag=etag)))


def delete(name: Name, connection: Reached, etag: str = "") -> None:
    """Delete an NPC with all that belongs to it. That cannot be undone.

    Args:
        name: Which one.
        etag: Delete it only if this is its etag.
        connection: How the server is reached.
    """
    with connection.services() as services:
        services.npcs.delete_npc(npcs_pb2.DeleteNpcRequest(name=full_name("npcs", name), etag=etag))
    say(f"deleted {full_name('npcs', name)}")


def rollback(name: Name, revision: Annotated[int, tyro.conf.Positional], connection: Reached, etag: str = "") -> None:
    """Let a kept revision of an NPC act again.

    Args:
        name: Which NPC.
        revision: The revision's number; `npcmeta npc get` lists them.
        etag: Change it only if this is its etag.
        connection: How the server is reached.
    """
    npc = full_name("npcs", name)
    with connection.services() as services:
        request = npcs_pb2.RollbackNpcRequest(name=npc, revision=f"{npc}/revisions/{revision}", etag=etag)
        _say_done("rolled back", services.npcs.rollback_npc(request))


def export(name: Name, connection: Reached, out: Path | None = None) -> None:
    """Write all that an NPC is to a file, for `npcmeta npc import` and `npcmeta export --npc`.

    Args:
        name: Which NPC.
        out: The file; as the server names it, in this folder, if it is left out.
        connection: How the server is reached.
    """
    request = assets_pb2.FetchAssetRequest(name=f"{full_name('npcs', name)}/assets/npc")
    with connection.services() as services:
        first, *rest = services.assets.fetch_asset(request)
    header, data = first.header, b"".join(message.chunk for message in rest)
    if hashlib.sha256(data).hexdigest() != header.sha256:
        raise ValueError(f"{header.name} came otherwise than it was sent; try again")
    path = out or Path(f"{checked_name(name.removeprefix('npcs/'))}.npc.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    say(f"wrote {path} ({len(data):,} bytes)")


def import_npc(file: Annotated[Path, tyro.conf.Positional], connection: Reached, npc_id: str = "") -> None:
    """Make an NPC of a file that `npcmeta npc export` or `npcmeta adapt` wrote.

    Args:
        file: The file.
        npc_id: The NPC's id; that in the file if it is left out.
        connection: How the server is reached.
    """
    data = file.read_bytes()
    with connection.services() as services:
        request = npcs_pb2.ImportNpcRequest(npc_id=npc_id, file=data)
        _say_done("imported", services.npcs.import_npc(request))


npc: Any = one_of(
    {
        "list": list_npcs,
        "get": get,
        "create": create,
        "clone": clone,
        "adapt": adapt,
        "rename": rename,
        "delete": delete,
        "rollback": rollback,
        "export": export,
        "import": import_npc,
    }
)
"""The command: one of the actions, with its own options."""


def _pages(services: Services, wanted: npcs_pb2.ListNpcsRequest) -> Iterable[resources_pb2.Npc]:
    while True:
        page = services.npcs.list_npcs(wanted)
        yield from page.npcs
        if not page.next_page_token:
            return
        wanted.page_token = page.next_page_token


def _show(found: list[resources_pb2.Npc], *, json: bool) -> None:
    if json:
        for npc in found:
            print(line(npc))
        return
    table = Table("npc", "archetype", "display name", "examples", "revision", "changed")
    for npc in found:
        number, changed = npc.revision.rpartition("/")[2], when(npc.update_time)
        texts = (npc.name, npc.archetype.partition("/")[2], npc.display_name)
        table.add_row(*map(plain, texts), f"{npc.examples:,}", number, changed)
    show(table)


def _say_done(done: str, npc: resources_pb2.Npc) -> None:
    number = npc.revision.rpartition("/")[2]
    said = f"{done} {npc.name} of {npc.archetype}: revision {number}, {npc.examples:,} examples, seed {npc.seed}"
    say(said)
