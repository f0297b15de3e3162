"""Tokens: made, kept as digests, found in a file that may change under a running server."""

import logging
import os
import re
import tomllib
from pathlib import Path

import pytest

from npcmeta_server.access import tokens
from npcmeta_server.access.tokens import TokenFile


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, *names: str, role: str = "act", **quotas: int) -> dict[str, str]:
    made = {name: tokens.new(name, role, quotas) for name in names}
    path.write_text("\n".join(lines for _, lines in made.values()))
    return {name: text for name, (text, _) in made.items()}


def test_a_token_is_found_by_what_its_owner_was_given_and_by_nothing_else(tmp_path: Path) -> None:
    given = write(tmp_path / "tokens.toml", "game", "tool", calls=3)
    file = TokenFile(tmp_path / "tokens.toml")
    found = file.find(given["game"])
    assert found is not None
    assert (found.name, found.role, found.calls, found.messages_per_second) == ("game", "act", 3, 0)
    swapped = "game." + given["tool"].partition(".")[2]
    for wrong in (
        "",
        "game",
        "game.",
        given["game"][:-1],
        given["game"] + "x",
        swapped,
        "nobody.x",
        "\udcff",
        "x" * 9999,
    ):
        assert file.find(wrong) is None


def test_the_file_holds_no_secret_and_secrets_differ(tmp_path: Path) -> None:
    given = write(tmp_path / "tokens.toml", "one", "two")
    text = (tmp_path / "tokens.toml").read_text()
    secrets = [token.partition(".")[2] for token in given.values()]
    assert len(set(secrets)) == 2
    assert all(len(secret) >= 43 and secret not in text for secret in secrets)


def test_a_changed_file_counts_within_a_second_and_a_broken_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "tokens.toml", Clock()
    old = write(path, "game")["game"]
    file = TokenFile(path, clock)
    new = write(path, "game")["game"]
    assert file.find(old) is not None
    clock.now += tokens.LOOK_SECONDS
    assert file.find(old) is None
    assert file.find(new) is not None
    for broken in ("[game", '[game]\nrole = "king"\nsha256 = ""', None):
        path.write_text(broken) if broken is not None else path.unlink()
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                clock.now += tokens.LOOK_SECONDS
                assert file.find(new) is not None
        [said] = caplog.messages  # once, and not every second
        assert "the tokens stay as they were" in said
        caplog.clear()
    path.write_text("")  # everybody's token taken back
    clock.now += tokens.LOOK_SECONDS
    assert file.find(new) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no toml", "is no TOML file"),
        ("[game]\nrole = 1", "is not as expected: role, sha256"),
        ('game = "x"', "is not as expected"),
        (f'[game]\nrole = "king"\nsha256 = "{"0" * 64}"', "expected one of: act, adapt, admin"),
        ('[game]\nrole = "act"\nsha256 = "hunter2"', "no 64 hexadecimal digits"),
        (f'[game]\nrole = "act"\nsha256 = "{"0" * 64}"\ncalls = -1', "a calls that is no whole number"),
        (f'[game]\nrole = "act"\nsha256 = "{"0" * 64}"\ncals = 1', "is not as expected"),
        (f'["../x"]\nrole = "act"\nsha256 = "{"0" * 64}"', "a token is called"),
        ("", "holds no token; npcmeta token new"),
    ],
)
def test_a_file_that_is_none_is_refused_without_showing_what_is_in_it(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "tokens.toml").write_text(text)
    with pytest.raises(ValueError, match=re.escape(expected)) as caught:
        TokenFile(tmp_path / "tokens.toml")
    assert "hunter2" not in str(caught.value)


def test_the_command_writes_a_file_that_the_server_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from npcmeta_server.cli import main

    path = tmp_path / "tokens.toml"
    assert main(["token", "new", "game", "--tokens", str(path)]) == 0
    game = capsys.readouterr().out.strip()
    assert main(["token", "new", "tool", "--role", "adapt", "--calls", "2", "--tokens", str(path)]) == 0
    tool = capsys.readouterr().out.strip()
    assert main(["token", "new", "game", "--tokens", str(path)]) == 1
    assert "choose another name" in capsys.readouterr().err
    file = TokenFile(path)
    assert [getattr(file.find(text), "role", None) for text in (game, tool)] == ["act", "adapt"]
    assert set(tomllib.loads(path.read_text())) == {"game", "tool"}
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0
