"""Compiles C# with mono's compiler and runs it; without mono, the tests that need it say so."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "unity_client_stub"

Compile = Callable[..., Path]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def mono() -> str:
    missing = [tool for tool in ("mcs", "mono") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found; install mono-mcs, mono-runtime and libmono-cil-dev")
    return "mono"


@pytest.fixture(scope="session")
def library(mono: str) -> list[Path]:
    """The client's sources."""
    return sorted((CLIENT / "Runtime").rglob("*.cs"))


@pytest.fixture(scope="session")
def compile_program(library: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Compile:
    def compiled(name: str, *sources: Path) -> Path:
        program = tmp_path_factory.mktemp(name) / f"{name}.exe"
        command = ["mcs", "-warn:4", "-warnaserror+", f"-out:{program}", *map(str, [*library, *sources])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return program

    return compiled


@pytest.fixture(scope="session")
def run_program(mono: str) -> Run:
    def run(program: Path, *arguments: object, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        command = [mono, "--debug", str(program), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds)

    return run
