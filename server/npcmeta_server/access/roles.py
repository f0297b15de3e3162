"""Which role each method needs. What is not listed needs the highest."""

from __future__ import annotations

ROLES = ("act", "adapt", "admin")
"""Each may do what those before it may."""

OPEN = ("/grpc.health.v1.Health/", "/health")
"""Paths that need no token: whoever watches over servers seldom can send one."""

ACT = (
    "/npcmeta.v1.ArchetypeService/ListArchetypes",
    "/npcmeta.v1.ArchetypeService/GetArchetype",
    "/npcmeta.v1.NpcService/GetNpc",
    "/npcmeta.v1.NpcService/ListNpcs",
    "/npcmeta.v1.ActService/Act",
    "/npcmeta.v1.ActService/ActOnce",
    "/grpc.reflection.v1alpha.ServerReflection/",
    "/inference.GRPCInferenceService/",
    "/metrics",
)
"""What playing takes; a name that ends in a slash stands for a whole service."""

ADAPT = (
    "/npcmeta.v1.NpcService/CreateNpc",
    "/npcmeta.v1.NpcService/CloneNpc",
    "/npcmeta.v1.NpcService/ImportNpc",
    "/npcmeta.v1.NpcService/UpdateNpc",
    "/npcmeta.v1.NpcService/CreateDemonstration",
    "/npcmeta.v1.NpcService/ListDemonstrations",
    "/npcmeta.v1.NpcService/ListRevisions",
    "/npcmeta.v1.NpcService/GetRevision",
    "/npcmeta.v1.NpcService/RollbackNpc",
    "/npcmeta.v1.AdaptService/Adapt",
    "/npcmeta.v1.AdaptService/AdaptOnce",
    "/npcmeta.v1.AssetService/FetchAsset",
)
"""What making and teaching NPCs takes, and what gives away what they learned."""

ADMIN = (
    "/npcmeta.v1.ArchetypeService/UploadArchetype",
    "/npcmeta.v1.ArchetypeService/UploadArchetypeOnce",
    "/npcmeta.v1.ArchetypeService/RetireArchetype",
    "/npcmeta.v1.UpgradeService/",
    "/npcmeta.v1.NpcService/DeleteNpc",
    "/npcmeta.v1.NpcService/DeleteDemonstration",
)
"""What cannot be undone, and what concerns everybody's NPCs."""


def needed(path: str) -> str:
    """The role that a path needs; empty if it is open to everybody."""
    for role, paths in (("", OPEN), ("act", ACT), ("adapt", ADAPT)):
        if any(path == each or (each.endswith("/") and path.startswith(each)) for each in paths):
            return role
    return "admin"


def covers(role: str, path: str) -> bool:
    """Whether a role may use a path."""
    wanted = needed(path)
    return not wanted or ROLES.index(role) >= ROLES.index(wanted)
