"""Commands whose output is read in part, as `head` does, or cannot be written."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("train", "--help")])
def test_a_reader_that_has_enough_ends_a_command_silently(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "npcmeta_server.cli", *arguments]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_output_that_a_full_disk_does_not_take_is_said() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "npcmeta_server.cli", "--version"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: [Errno 28] No space left on device\n")
