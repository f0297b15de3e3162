"""What the documentation lists is what the code has."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npcmeta.learners import LEARNERS
from npcmeta.recordings.behavior import Behavior
from npcmeta.recordings.npz import ARRAYS, Expected, read_npz
from npcmeta.tasks import FAMILIES
from npcmeta_export.check import CONTRACTS
from npcmeta_export.operators import SENTIS_2_1
from npcmeta_server.cli import COMMANDS
from npcmeta_server.errors import REASONS
from tests.golden.operating import TABLES

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "mlagents": "engines/unity_ml_agents.md",
    "sentis": "engines/unity_sentis.md",
    "godot": "engines/godot.md",
    "ort": "engines/unreal_and_onnxruntime.md",
    "policy": "assets.md",
    "adapt": "assets.md",
    "begin": "assets.md",
}


def test_the_table_of_errors_is_complete() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+) \| (.+) \|$", (ROOT / "docs" / "wire.md").read_text(), re.MULTILINE)
    assert rows == [(name, reason.code.name, reason.meaning) for name, reason in REASONS.items()]


@pytest.mark.parametrize("table", TABLES)
def test_settings_limits_metrics_and_roles_are_documented_as_they_are(table: Callable[[], Iterator[str]]) -> None:
    assert "\n".join(table()) in (ROOT / "docs" / "operating.md").read_text()


def test_all_that_a_recording_may_hold_is_on_its_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", (ROOT / "docs" / "recordings.md").read_text(), re.MULTILINE)
    held = [(name, _written(array)) for name, array in ARRAYS.items()]
    assert rows[: len(held)] == held
    assert [name for name, _ in rows[len(held) :]] == list(Behavior._fields)


def _written(array: Expected) -> str:
    return array.kind_names + (f" [{', '.join(array.axes)}]" if array.axes else "")


def test_the_scripts_on_the_page_of_recordings_write_what_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [{"seen": [0.5, step], "move": [0.1], "choices": [step % 3, 0], "first": step == 0} for step in range(6)]
    Path("bob.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "recordings.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 1
    subprocess.run([sys.executable, "-c", blocks[0]], check=True)
    found = read_npz(Path("recordings/bob/1.npz"))
    assert (found.steps, found.branch_sizes, found.tick_rate_hz) == (6, (3, 2), 10.0)


def test_every_reason_is_given_somewhere() -> None:
    server = ROOT / "server" / "npcmeta_server"
    texts = [path.read_text() for path in server.rglob("*.py") if "gen" not in path.parts and path.name != "errors.py"]
    assert [name for name in REASONS if not any(f'"{name}"' in text for text in texts)] == []


def test_the_readme_names_every_command_family_and_learner() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"npcmeta {name}" not in readme] == []
    assert [name for name in (*FAMILIES, *LEARNERS) if f"`{name}`" not in readme] == []


def test_links_between_documents_lead_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "unity_client_stub").glob("*.md")):
        for target, heading in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", document.read_text()):
            linked = document.parent / target if target else document
            assert linked.exists(), f"{document.name}: {target}"
            assert not heading or heading in _headings(linked), f"{document.name}: {target}#{heading}"


def _headings(document: Path) -> list[str]:
    """What links to a document's headings are called: lower case, no punctuation, - for each space."""
    found = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found]


def test_every_name_that_an_engine_looks_for_is_on_its_page() -> None:
    assert set(PAGES) == set(CONTRACTS)
    for target, page in PAGES.items():
        text = (ROOT / "docs" / page).read_text()
        names = [port.name for port in (*CONTRACTS[target].inputs, *CONTRACTS[target].outputs)]
        written = [name.replace(".*", ".<key>").replace("_*", "_0") for name in names]
        assert [name for name in written if f"`{name}`" not in text] == [], page


def test_the_list_of_operators_is_complete() -> None:
    text = (ROOT / "docs" / "engines" / "operators.md").read_text().partition("\n\n")[2].partition("\n\n")[2]
    assert re.findall(r"`(\w+)`", text) == sorted(SENTIS_2_1)


def test_codes_that_the_pages_name_are_those_of_findings() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "export" / "npcmeta_export" / "check").glob("*.py"))
    for page in (ROOT / "docs" / "engines").glob("*.md"):
        for code in re.findall(r"\(`([a-z-]+)`(?:, `([a-z-]+)`)?\)", page.read_text()):
            assert [name for name in code if name and f'"{name}"' not in sources] == [], page.name
