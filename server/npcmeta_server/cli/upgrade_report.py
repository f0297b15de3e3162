"""What `npcmeta archetype` says of upgrades."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from npcmeta_server.cli import telling
from npcmeta_server.cli.calling import Services
from npcmeta_server.gen.npcmeta.v1 import upgrades_pb2

SHOWN = 20
"""NPCs that a table shows one by one."""


def table(found: Sequence[upgrades_pb2.Upgrade]) -> Table:
    """A row for each upgrade."""
    shown = Table(
        "upgrade", "to revision", "", "NPCs", "moved", "stay", "failed", "there already", "tolerance", "begun"
    )
    for each in found:
        state = upgrades_pb2.UpgradeState.Name(each.state).removeprefix("UPGRADE_").lower()
        counts = (f"{count:,}" for count in (each.npcs, each.moved, each.kept, each.failed, already(each)))
        tolerance = "unchecked" if each.unchecked else f"{each.tolerance:g}"
        name, begun = each.name.rpartition("/")[2], telling.when(each.create_time)
        shown.add_row(name, each.revision[:12], state, *counts, tolerance, begun)
    return shown


def already(upgrade: upgrades_pb2.Upgrade) -> int:
    """How many there was nothing to do for, as they were on the revision before, or are gone; known at the end."""
    ended = upgrade.state == upgrades_pb2.UPGRADE_DONE
    return upgrade.npcs - upgrade.moved - upgrade.kept - upgrade.failed if ended else 0


def show(services: Services, upgrade: upgrades_pb2.Upgrade) -> None:
    """Says how an upgrade ended, and who stayed."""
    telling.show(table([upgrade]), 2)
    show_stayed(services, upgrade)


def show_stayed(services: Services, upgrade: upgrades_pb2.Upgrade) -> None:
    """Says which NPCs an upgrade did not move, and why; the first of them."""
    if not upgrade.kept + upgrade.failed:
        return
    asked = upgrades_pb2.ListUpgradeOutcomesRequest(parent=upgrade.name, page_size=SHOWN)
    stayed = Table("npc", "", "why")
    for each in services.upgrades.list_upgrade_outcomes(asked).outcomes:
        stayed.add_row(escape(each.npc), "failed" if each.failed else "stays", escape(each.reason))
    telling.show(stayed)
    if (more := upgrade.kept + upgrade.failed - SHOWN) > 0:
        telling.say(f"and {more:,} more")
