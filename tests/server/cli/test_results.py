"""Files that commands write at their end: what cannot be written is said before the work."""

from pathlib import Path

import pytest

from npcmeta_server.cli import main, results


@pytest.mark.parametrize(
    "command",
    [
        ("demo", "--family", "sinusoid", "--out", "{folder}/out", "--json", "{folder}/taken/rows.json"),
        ("demo", "--family", "sinusoid", "--out", "{folder}/taken"),
        ("bench", "inner-loop", "--json", "{folder}/taken/figures.json"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_said_at_once(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").touch()
    assert main([word.format(folder=tmp_path) for word in command]) == 1
    said = capsys.readouterr()
    assert said.err == f"error: {tmp_path / 'taken'}: File exists; a folder is expected there\n"
    assert not said.out


def test_what_was_there_stays_and_nothing_empty_is_left(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "below" / "new.json"
    old.write_text("{}")
    results.reserve(old, new, None)
    assert old.read_text() == "{}"
    assert list(new.parent.iterdir()) == []
