"""The view of a running server; against a real one in test_operating."""

import io
import socket

import pytest
from rich.console import Console, RenderableType
from rich.table import Table

from npcmeta_server.cli import main, top

TEXT = """# TYPE npcmeta_frame_seconds histogram
npcmeta_frame_seconds_bucket{le="0.001"} %d
npcmeta_frame_seconds_bucket{le="0.004"} %d
npcmeta_frame_seconds_bucket{le="+Inf"} %d
# TYPE npcmeta_errors counter
npcmeta_errors_total{reason="TOO_MANY"} %d
"""


def test_quantiles_and_rates_are_of_what_happened_since_the_last_look() -> None:
    before, now = top.parse(10.0, TEXT % (100, 100, 100, 3)), top.parse(12.0, TEXT % (150, 199, 200, 3))
    assert top.quantile(before, now, "npcmeta_frame_seconds", 0.5) == 0.001
    assert top.quantile(before, now, "npcmeta_frame_seconds", 0.99) == 0.004
    assert top.quantile(before, now, "npcmeta_frame_seconds", 1.0) == float("inf")
    assert top.quantile(now, now, "npcmeta_frame_seconds", 0.5) is None
    assert now.by("npcmeta_errors_total", "reason") == {"TOO_MANY": 3}


def test_nobody_there_is_said_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert main(["top", "--once", "--server", f"http://127.0.0.1:{port}"]) == 1
    assert "does not answer as a server of npcmeta does" in capsys.readouterr().err
    assert main(["top", "--server", "127.0.0.1:8080"]) == 1
    assert "expected http://HOST:PORT" in capsys.readouterr().err
    assert main(["top", "--every", "0"]) == 1
    assert "expected seconds, more than 0" in capsys.readouterr().err


def test_a_server_that_goes_away_is_waited_for_and_one_that_comes_back_counts_from_nothing() -> None:
    def reading(seconds: float, started: int) -> top.Reading:
        return top.parse(seconds, f"process_start_time_seconds {started}\n" + TEXT % (9, 9, 9, 9))

    answers = iter((reading(12.0, 1), ValueError("nobody answers"), reading(22.0, 2)))

    def look() -> top.Reading:
        if isinstance(answer := next(answers), ValueError):
            raise answer
        return answer

    def text(shown: RenderableType) -> str:
        console = Console(width=60, record=True, file=io.StringIO())
        console.print(shown)
        return " ".join(console.export_text().split())

    seen = top.follow(look, reading(10.0, 1), 0.001)
    assert "TOO_MANY │ 0 │ 9" in text(next(seen))
    gone = text(next(seen))
    assert "TOO_MANY │ 0 │ 9" in gone
    assert "nobody answers; trying again" in gone
    assert "TOO_MANY │ 9 │ 9" in text(next(seen))


def test_errors_since_the_start_stand_in_one_column() -> None:
    before, now = top.parse(10.0, TEXT % (1, 1, 1, 3)), top.parse(12.0, TEXT % (1, 1, 1, 5))

    def headings(older: top.Reading) -> list[object]:
        table = top.view(older, now).renderables[-1]
        assert isinstance(table, Table)
        return [column.header for column in table.columns]

    assert headings(now) == ["error", "in all"]
    assert headings(before) == ["error", "lately", "in all"]
