"""`npcmeta archetype`: the archetypes of a running server, their revisions, and moving NPCs from one to another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from npcmeta import header
from npcmeta_server.cli import upgrade_report
from npcmeta_server.cli.calling import Name, Reached, Services, full_name, one_of
from npcmeta_server.cli.telling import line, say, show, when
from npcmeta_server.gen.npcmeta.v1 import archetypes_pb2, resources_pb2, upgrades_pb2

CHUNK_BYTES = 1 << 20
LOOK_SECONDS = 0.2


def list_archetypes(connection: Reached, json: bool = False) -> None:
    """List archetypes with their revisions, and how many NPCs act with each.

    Args:
        json: Write a line of JSON for each archetype instead of a table.
        connection: How the server is reached.
    """
    with connection.services() as services:
        found = list(_archetypes(services))
    if json:
        for each in found:
            print(line(each))
        return
    table = Table("archetype", "revision", "", "NPCs", "learner", "since")
    for each in found:
        for number, revision in enumerate(each.revisions):
            how = "current" if revision.current else "active" if revision.active else "kept"
            since = when(revision.create_time) if revision.HasField("create_time") else ""
            name = each.name.partition("/")[2] if number == 0 else ""
            table.add_row(name, revision.revision[:12], how, f"{revision.npcs:,}", each.learner, since)
    show(table, 2)


def upload(file: Annotated[Path, tyro.conf.Positional], connection: Reached, current: bool = False) -> None:
    """Give the server an archetype's file. It acts beside the other revisions; no NPC changes.

    Args:
        file: An archetype file, or a folder that train wrote.
        current: New NPCs get this revision from now on.
        connection: How the server is reached.
    """
    from npcmeta_server.cli.evaluate import archetype_file

    data = archetype_file(file).read_bytes()
    described = header.read_metadata(data, "npcmeta.archetype")
    name, own = described["name"], described["revision"][:12]

    def requests() -> Iterator[archetypes_pb2.UploadArchetypeRequest]:
        setup = archetypes_pb2.UploadSetup(archetype=full_name("archetypes", name), current=current)
        yield archetypes_pb2.UploadArchetypeRequest(setup=setup)
        for start in range(0, len(data), CHUNK_BYTES):
            yield archetypes_pb2.UploadArchetypeRequest(chunk=data[start : start + CHUNK_BYTES])

    with connection.services() as services:
        found = services.archetypes.upload_archetype(requests())
    current_one = f"current is {found.revision[:12]}"
    say(f"uploaded revision {own} of {found.name}, which has {len(found.revisions)} revisions; {current_one}")


def retire(name: Name, connection: Reached, revision: str = "") -> None:
    """Unload a revision with which no NPC acts, or offer an archetype no more.

    Args:
        name: The archetype.
        revision: The first letters of the revision; the whole archetype if it is left out.
        connection: How the server is reached.
    """
    with connection.services() as services:
        wanted = _revision(_get(services, name), revision) if revision else ""
        request = archetypes_pb2.RetireArchetypeRequest(name=full_name("archetypes", name), revision=wanted)
        services.archetypes.retire_archetype(request)
    say(f"retired {f'revision {wanted[:12]} of ' if wanted else ''}{full_name('archetypes', name)}")


def upgrade(
    name: Name,
    connection: Reached,
    revision: str = "",
    npc: tuple[str, ...] = (),
    tolerance: float = 0.05,
    unchecked: bool = False,
    wait: bool = True,
) -> None:
    """Move NPCs to another revision while they act, and follow how it goes.

    Args:
        name: The archetype.
        revision: The first letters of the revision to move to; the newest if it is left out.
        npc: Only these NPCs; all if it is left out, which also makes the revision the current one.
        tolerance: How much worse on its held-out examples an NPC may be, in nats per decision; else it stays.
        unchecked: Move everybody, without a check.
        wait: Follow the upgrade to its end; interrupting that does not end the upgrade.
        connection: How the server is reached.
    """
    with connection.services() as services:
        found = _get(services, name)
        newest = max(found.revisions, key=lambda each: each.create_time.ToNanoseconds()).revision
        request = upgrades_pb2.UpgradeNpcsRequest(
            archetype=full_name("archetypes", name),
            revision=_revision(found, revision or newest),
            npcs=[full_name("npcs", each) for each in npc],
            tolerance=tolerance,
            unchecked=unchecked,
        )
        begun = services.upgrades.upgrade_npcs(request)
        say(f"{begun.name}: {begun.npcs:,} NPCs to revision {begun.revision[:12]}")
        if wait:
            upgrade_report.show(services, _followed(services, begun))


def rollback(name: Name, connection: Reached, revision: str = "", wait: bool = True) -> None:
    """Move all NPCs back to another revision than the current one, whatever the check would say.

    Args:
        name: The archetype.
        revision: The first letters of the revision to go back to; may be left out where there is one choice.
        wait: Follow it to its end.
        connection: How the server is reached.
    """
    with connection.services() as services:
        target = _revision(_get(services, name), revision)
    upgrade(name, connection, target, unchecked=True, wait=wait)


def status(name: Name, connection: Reached, json: bool = False) -> None:
    """Show an archetype's newest upgrades, and who stayed in the last one.

    Args:
        name: The archetype.
        json: Write a line of JSON for each upgrade instead of tables.
        connection: How the server is reached.
    """
    with connection.services() as services:
        asked = upgrades_pb2.ListUpgradesRequest(parent=full_name("archetypes", name), page_size=20)
        found = list(services.upgrades.list_upgrades(asked).upgrades)
        if json:
            for each in found:
                print(line(each))
            return
        show(upgrade_report.table(found), 2)
        if found:
            upgrade_report.show_stayed(services, found[0])


def cancel(name: Name, connection: Reached) -> None:
    """End the upgrade that runs; NPCs that were moved stay where they are.

    Args:
        name: The archetype.
        connection: How the server is reached.
    """
    with connection.services() as services:
        asked = upgrades_pb2.ListUpgradesRequest(parent=full_name("archetypes", name), page_size=1)
        newest = services.upgrades.list_upgrades(asked).upgrades
        if not newest or newest[0].state != upgrades_pb2.UPGRADE_RUNNING:
            raise ValueError(f"no upgrade of {full_name('archetypes', name)} is running")
        ended = services.upgrades.cancel_upgrade(upgrades_pb2.CancelUpgradeRequest(name=newest[0].name))
    say(f"cancelled {ended.name}: {ended.moved:,} of {ended.npcs:,} NPCs were moved")


archetype: Any = one_of(
    {
        "list": list_archetypes,
        "upload": upload,
        "retire": retire,
        "upgrade": upgrade,
        "status": status,
        "cancel": cancel,
        "rollback": rollback,
    }
)
"""The command: one of the actions, with its own options."""


def _archetypes(services: Services) -> Iterator[resources_pb2.Archetype]:
    wanted = archetypes_pb2.ListArchetypesRequest(page_size=1000)
    while True:
        page = services.archetypes.list_archetypes(wanted)
        yield from page.archetypes
        if not page.next_page_token:
            return
        wanted.page_token = page.next_page_token


def _get(services: Services, name: str) -> resources_pb2.Archetype:
    return services.archetypes.get_archetype(archetypes_pb2.GetArchetypeRequest(name=full_name("archetypes", name)))


def _revision(found: resources_pb2.Archetype, start: str) -> str:
    """The revision that begins with some letters; without any, the only one that is not current."""
    others = [each.revision for each in found.revisions if not each.current]
    known = [each.revision for each in found.revisions if each.revision.startswith(start)] if start else others
    if len(known) == 1:
        return known[0]
    shown = ", ".join(each.revision[:12] for each in found.revisions)
    what = f'{len(known)} begin with "{start}"' if start else f"{len(others)} are not current"
    raise ValueError(f"{found.name} has the revisions {shown}, of which {what}; say which with --revision")


def _followed(services: Services, begun: upgrades_pb2.Upgrade) -> upgrades_pb2.Upgrade:
    """Shows how an upgrade goes, until it ends."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("NPCs", total=begun.npcs)
        while True:
            found = services.upgrades.get_upgrade(upgrades_pb2.GetUpgradeRequest(name=begun.name))
            there = upgrade_report.already(found)
            said = f"moved {found.moved:,}, stay {found.kept:,}, failed {found.failed:,}, there already {there:,}"
            progress.update(task, completed=found.moved + found.kept + found.failed + there, description=said)
            if found.state != upgrades_pb2.UPGRADE_RUNNING:
                return found
            time.sleep(LOOK_SECONDS)
