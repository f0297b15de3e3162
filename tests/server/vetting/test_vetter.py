"""Vetting: one process at a time, which ends with whoever asked for it."""

import asyncio
import contextlib
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from npcmeta_server.vetting.vetter import Vetter


@pytest.fixture
def data(archetype_folder: Path) -> bytes:
    return (archetype_folder / "guard.safetensors").read_bytes()


@pytest.fixture
def vetter() -> Iterator[Vetter]:
    with contextlib.closing(Vetter()) as made:
        yield made


def processes() -> int:
    return sum(each.name == "vetting" for each in multiprocessing.active_children())


@pytest.mark.parametrize("seconds", [0.0, 0.3])
async def test_who_gives_up_leaves_no_process_and_the_next_file_is_vetted(
    seconds: float, vetter: Vetter, data: bytes
) -> None:
    asked = asyncio.create_task(vetter.vet(data))
    await asyncio.sleep(0)
    while not processes():
        await asyncio.sleep(0.001)
    await asyncio.sleep(seconds)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert processes() == 0
    assert (await vetter.vet(data)).archetype.name == "guard"
    assert processes() == 0
