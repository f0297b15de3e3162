"""Every method that is offered has the role that it needs, written down."""

import pytest

from npcmeta_server.access import roles
from npcmeta_server.ports.surface import FILES, INFERENCE

METHODS = [
    f"/{service.full_name}/{method.name}"
    for file in (*FILES, INFERENCE)
    for service in file.services_by_name.values()
    for method in service.methods
]


def test_every_method_is_in_the_table_once() -> None:
    listed = (*roles.OPEN, *roles.ACT, *roles.ADAPT, *roles.ADMIN)
    for path in METHODS:
        assert sum(path == each or (each.endswith("/") and path.startswith(each)) for each in listed) == 1, path


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("/npcmeta.v1.ActService/Act", ("act", "adapt", "admin")),
        ("/inference.GRPCInferenceService/ModelInfer", ("act", "adapt", "admin")),
        ("/npcmeta.v1.AdaptService/Adapt", ("adapt", "admin")),
        ("/npcmeta.v1.AssetService/FetchAsset", ("adapt", "admin")),
        ("/npcmeta.v1.NpcService/DeleteNpc", ("admin",)),
        ("/npcmeta.v1.ArchetypeService/UploadArchetype", ("admin",)),
        ("/npcmeta.v1.ActService/ActAndMore", ("admin",)),
        ("/new.Service/Method", ("admin",)),
        ("/health", roles.ROLES),
    ],
)
def test_a_role_may_do_what_it_is_for(path: str, may: tuple[str, ...]) -> None:
    assert tuple(role for role in roles.ROLES if roles.covers(role, path)) == may
