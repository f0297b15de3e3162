"""Options of the server that come from the environment."""

import pytest

from npcmeta_server.cli import environment, main
from npcmeta_server.cli.serve import serve


def test_what_is_typed_counts_more_than_a_variable() -> None:
    variables = {"NPCMETA_PORT": "1", "NPCMETA_HTTP_PORT": "2", "NPCMETA_STORE": "", "PORT": "3"}
    assert environment.arguments(serve, ["--port", "9"], variables) == ["--http-port=2", "--port", "9"]
    assert environment.arguments(serve, ["--http_port=9"], variables) == ["--port=1", "--http_port=9"]


def test_switches_and_lists_are_read() -> None:
    variables = {"NPCMETA_INSECURE": "yes", "NPCMETA_CORS_ORIGINS": "https://a.example,https://b.example"}
    found = environment.arguments(serve, [], variables)
    assert found == ["--insecure", "--cors-origins", "https://a.example", "https://b.example"]
    assert environment.arguments(serve, ["--no-insecure"], variables | {"NPCMETA_CORS_ORIGINS": ""}) == [
        "--no-insecure"
    ]
    assert environment.arguments(serve, [], {"NPCMETA_INSECURE": "off"}) == []
    with pytest.raises(ValueError, match='NPCMETA_INSECURE is "perhaps", expected one of: 1, true'):
        environment.arguments(serve, [], {"NPCMETA_INSECURE": "perhaps"})


@pytest.mark.usefixtures("configured")
def test_the_command_reads_them(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NPCMETA_ARCHETYPES", "nowhere")
    monkeypatch.setenv("NPCMETA_HTTP_PORT", "70000")
    assert main(["serve"]) == 1
    assert "--http-port is 70000" in capsys.readouterr().err
    assert main(["serve", "--http-port", "0", "--host", "0.0.0.0"]) == 1
    assert "can be reached from other machines" in capsys.readouterr().err
    assert main(["serve", "--http-port", "0"]) == 1
    assert "nowhere: there is no such folder" in capsys.readouterr().err


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--grace-seconds", "nan", "0 to 86400"),
        ("--drain-seconds", "-1", "0 to 86400"),
        ("--bank-mebibytes", "0", "1 or more"),
        ("--max-calls", "0", "1 or more"),
        ("--max-npcs", "-1", "0 or more"),
        ("--adaptation-processes", "65", "1 to 64"),
        ("--mlagents-port", "65536", "0 to 65535"),
    ],
)
def test_a_number_that_cannot_be_is_refused_before_anything_starts(
    option: str, value: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--archetypes", "nowhere", f"{option}={value}"]) == 1
    said = capsys.readouterr().err.replace(".0,", ",")  # -1.0 and -1 alike
    assert said == f"error: {option} is {value}, expected {expected}\n"
