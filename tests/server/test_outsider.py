"""Somebody who has the .proto files and nothing else of ours."""

import os
import subprocess
import sys
from pathlib import Path

from google.rpc import status_pb2

from npcmeta_server.demo.host import Address

ROOT = Path(__file__).resolve().parents[2]


def test_a_client_from_the_proto_files_alone_does_the_whole_job(server: Address, tmp_path: Path) -> None:
    sources = sorted(str(path) for path in (ROOT / "proto" / "npcmeta" / "v1").glob("*.proto"))
    common = Path(status_pb2.__file__).parents[2]
    made = [f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", f"-I{common}"]
    subprocess.run([*protoc, *made, *sources], check=True)
    for package in ("npcmeta", "npcmeta/v1"):  # so that they come before the project's own package
        (tmp_path / package / "__init__.py").touch()
    program = tmp_path / "outsider.py"
    program.write_text((ROOT / "tests" / "server" / "outsider.py").read_text())
    done = subprocess.run(
        [sys.executable, str(program), server.grpc.rpartition(":")[2]],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "5 NPCs of 2 archetypes act as their assets do\n"), done.stderr
