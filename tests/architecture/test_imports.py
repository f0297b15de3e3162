"""The one-way arrows between packages, read from the imports of every file."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"npcmeta": ROOT / "npcmeta", "npcmeta_export": ROOT / "export", "npcmeta_server": ROOT / "server"}
TERMINAL = ("rich", "tyro", "matplotlib")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def offenders(folder: Path, forbidden: tuple[str, ...], allowed_below: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder).as_posix()
        if not inside.startswith(allowed_below or ("\0",)):
            found += [f"{inside}: {name}" for name in imports(path) if name.split(".")[0] in forbidden]
    return found


def test_every_package_is_looked_at() -> None:
    assert all(len(list(folder.rglob("*.py"))) > 5 for folder in PACKAGES.values())


def test_the_core_knows_nobody() -> None:
    forbidden = (
        "onnx",
        "onnxruntime",
        "grpc",
        "connectrpc",
        "sqlalchemy",
        "npcmeta_export",
        "npcmeta_server",
        *TERMINAL,
    )
    assert offenders(PACKAGES["npcmeta"], forbidden) == []


def test_protobuf_is_known_to_recordings_alone() -> None:
    assert offenders(PACKAGES["npcmeta"], ("google",), ("recordings/",)) == []


def test_export_knows_the_core_alone() -> None:
    assert offenders(PACKAGES["npcmeta_export"], ("npcmeta_server", "grpc", *TERMINAL)) == []


@pytest.mark.parametrize("library", TERMINAL)
def test_the_terminal_and_pictures_are_known_to_the_command_line_and_the_report(library: str) -> None:
    allowed = tuple(f"npcmeta_server/{folder}/" for folder in ("cli", "report"))
    assert offenders(PACKAGES["npcmeta_server"], (library,), allowed) == []


def test_the_server_itself_does_not_know_the_command_line() -> None:
    found, above = [], [["npcmeta_server", part] for part in ("cli", "demo", "report")]
    for path in sorted(PACKAGES["npcmeta_server"].rglob("*.py")):
        inside = path.relative_to(PACKAGES["npcmeta_server"] / "npcmeta_server").as_posix()
        if not inside.startswith(("cli/", "demo/", "report/")):
            found += [f"{inside}: {name}" for name in imports(path) if name.split(".")[:2] in above]
    assert found == []


def arrows() -> dict[str, set[str]]:
    """Which parts of the server, packages and modules beside them, each part knows."""
    top, found = PACKAGES["npcmeta_server"] / "npcmeta_server", dict[str, set[str]]()
    for path in sorted(top.rglob("*.py")):
        part = path.relative_to(top).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("npcmeta_server"):
                _, *below = node.module.split(".")
                known = below[:1] or [alias.name for alias in node.names]
                found.setdefault(part, set()).update(name for name in known if name != part)
    return found


def test_no_two_parts_of_the_server_know_each_other() -> None:
    TopologicalSorter(arrows()).prepare()  # raises CycleError, which names them


def test_services_know_no_port_and_ports_no_service() -> None:
    found = arrows()
    assert "access" in found["services"]
    assert "access" in found["ports"]
    assert ("ports" in found["services"], "services" in found["ports"]) == (False, False)
