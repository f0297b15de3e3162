"""A real server of PostgreSQL for tests: in a temporary folder, on a free port, with a password."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

from npcmeta_server.demo.host import free_port

PASSWORD = "no-one-must-see-this"
USER = "postgres"
HASTE = ("fsync=off", "full_page_writes=off", "max_connections=20", "shared_buffers=16MB")
"""The machine does not lose its power in a test."""
BACKENDS = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"


def programs() -> Path | None:
    """The folder of initdb and postgres; None if PostgreSQL is not installed."""
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = Path(on_path) if on_path else (debian[-1] if debian else None)
    return found.parent if found else None


class Cluster:
    """A running server, which tests may stop and start."""

    def __init__(self) -> None:
        """Makes its folder and starts it."""
        folder = programs()
        assert folder is not None
        self._programs, self.port, self._databases = folder, free_port(), 0
        self._home = Path(tempfile.mkdtemp(prefix="pg-"))  # not below pytest's folder, where only its owner may go
        secret = self._home / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:  # under whom PostgreSQL does not run
            for path in (self._home, secret):
                shutil.chown(path, USER)
        self._call("initdb", f"--username={USER}", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync",
                   "--encoding=UTF8", "--locale=C.UTF-8", "--pgdata", str(self._data))  # fmt: skip
        self.start()

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def start(self) -> None:
        """Lets it run, and waits until it answers; it ends with this process, whatever ends that."""
        settings = [*HASTE, f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self._home}"]
        options = [word for setting in settings for word in ("-c", setting)]
        command = self._command("postgres", "-D", str(self._data), *options)
        with (self._home / "log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + 60
        while True:
            try:
                self.execute("select 1")
                return
            except psycopg.OperationalError:
                assert self._server.poll() is None, (self._home / "log").read_text()
                assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it at once, and every connection to it, as a crash would."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(60)

    @contextlib.contextmanager
    def frozen(self, *, everything: bool = True) -> Iterator[None]:
        """Stops all of its processes in the middle of whatever they do, or only those that serve connections."""
        backends = [int(str(pid)) for [pid] in self.execute(BACKENDS)]
        pids = [self._server.pid, *backends] if everything else backends
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Ends it and removes what it kept."""
        self.stop()
        shutil.rmtree(self._home)

    def url(self, database: str = "postgres") -> str:
        """Where a database of it is."""
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        self._databases += 1
        name = f"npcs_{self._databases}"
        self.execute(f"create database {name}")
        return self.url(name)

    def execute(self, statement: str, url: str | None = None) -> Sequence[tuple[object, ...]]:
        """What one statement gives, as another program would ask for it."""
        address = (url or self.url()).replace("+psycopg", "")
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def _call(self, program: str, *arguments: str) -> None:
        command = self._command(program, *arguments)
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/", timeout=120
        )
        assert done.returncode == 0, done.stdout

    def _command(self, program: str, *arguments: str) -> list[str]:
        """A program of PostgreSQL's, which must not run as root, and as the child of nobody."""
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--pdeathsig=QUIT", *command]
        elif shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig=QUIT", *command]
        return command
