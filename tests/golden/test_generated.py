"""Generated Python is what the generator makes of proto/ today."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("server/npcmeta_server/gen", "npcmeta/recordings/gen")


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
