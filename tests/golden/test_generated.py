"""Generated Python is what the generator makes of proto/ today."""

import subprocess
import sys
from pathlib import Path

from npcmeta_server.gen.npcmeta.v1 import resources_pb2, tensor_pb2
from npcmeta_server.ports.surface import FILES

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("server/npcmeta_server/gen", "npcmeta/recordings/gen")
SHARED = (resources_pb2.DESCRIPTOR, tensor_pb2.DESCRIPTOR)
"""What the files of services import."""


def test_generated_python_is_up_to_date(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "generate_protos", "--out", tmp_path], check=True)
    for folder in GENERATED:
        fresh = {path.relative_to(tmp_path): path.read_text() for path in (tmp_path / folder).rglob("*.py*")}
        kept = {
            path.relative_to(ROOT): path.read_text()
            for path in (ROOT / folder).rglob("*.py*")
            if "__pycache__" not in path.parts
        }
        assert len(fresh) > 1
        assert kept == fresh, "run scripts/generate_protos"


def test_go_is_told_the_package_of_every_file() -> None:
    """protoc-gen-go refuses files that do not say it, and no two packages may import each other."""
    packages = {options.go_package for options in (file.GetOptions() for file in (*FILES, *SHARED))}
    assert packages == {"npcmeta/v1;npcmetav1"}
