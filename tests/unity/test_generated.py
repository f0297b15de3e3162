"""The C# messages that are committed are those that scripts/generate_csharp makes of proto/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.unity.conftest import ROOT

GENERATED = Path("unity_client_stub") / "Runtime" / "Generated"


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / "generate_csharp"), "--out", str(tmp_path)], check=True)
    assert contents(tmp_path / GENERATED) == contents(ROOT / GENERATED), "run scripts/generate_csharp"


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.cs")}
