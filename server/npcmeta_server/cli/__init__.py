"""The command line: one module for each command; each is imported only when it is called."""

from __future__ import annotations

import contextlib
import errno
import importlib
import inspect
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

COMMANDS = {
    "demo": "the main job, end to end, on an embedded default",
    "train": "meta-train an archetype and its baseline",
    "evaluate": "measure archetypes on held-out tasks",
    "adapt": "make an NPC from demonstrations, without a game or a server",
    "export": "write ONNX assets for a game",
    "check": "hold an ONNX file against what an engine accepts",
    "serve": "serve archetypes and NPCs over gRPC, gRPC-Web and Connect",
    "archetype": "list, upload and retire archetypes of a running server, and upgrade its NPCs",
    "npc": "list, make, change and carry NPCs of a running server",
    "top": "watch a running server",
    "token": "make a token for clients of a server",
    "data": "inspect recorded demonstrations",
    "bench": "measure this machine beside what others do",
}
HINTS = {
    errno.EACCES: "; name another place, or let this user in",
    errno.EEXIST: "; a folder is expected there",
    errno.ENOTDIR: "; a folder is expected above it",
    errno.EROFS: "; name another place",
    errno.ENOSPC: "; make room on its disk",
}
"""What to do, by what the system says of a file."""
LOOPBACK = "127.0.0.1,localhost,::1"
EXPECTED = (ValueError, OSError, ImportError, RuntimeError, FloatingPointError)
"""Errors whose message says what to do; NPCMETA_TRACEBACK=1 shows where they came from as well."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the arguments name, and returns the exit status."""
    try:
        status = _answer(list(sys.argv[1:] if arguments is None else arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # whoever reads has read enough, as head does
            if os.environ.get("NPCMETA_TRACEBACK"):
                raise
            print(f"error: {_said(error)}", file=sys.stderr)
        # What is left may not be written at the end of the process either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _answer(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if given[0] == "--version":
        from npcmeta import __version__

        print(f"npcmeta {__version__}")
        return 0
    if given[0] not in COMMANDS:
        print(f'error: there is no command "{given[0]}"; expected one of: {", ".join(COMMANDS)}', file=sys.stderr)
        return 2
    return _run(given[0], given[1:])


def _run(command: str, arguments: list[str]) -> int:
    _call_this_machine_itself()
    try:
        with _ending_at_once():
            import tyro

            function = getattr(importlib.import_module(f"npcmeta_server.cli.{command}"), command)
        if command == "serve":
            from npcmeta_server.cli import environment

            arguments = environment.arguments(function, arguments, os.environ)
        if inspect.isfunction(function) and {"-h", "--help"} & set(arguments):
            arguments = ["--help"]  # after other arguments, help would leave these out of the usage
        status = tyro.cli(function, args=arguments, prog=f"npcmeta {command}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except EXPECTED as error:
        if os.environ.get("NPCMETA_TRACEBACK"):
            raise
        print(f"error: {_said(error)}", file=sys.stderr)
        return 1
    return status if isinstance(status, int) else 0


@contextlib.contextmanager
def _ending_at_once() -> Iterator[None]:
    """Lets Ctrl-C end the process itself: libraries that it interrupts while they load swallow it, or break later."""
    usual = threading.current_thread() is threading.main_thread()
    usual = usual and signal.getsignal(signal.SIGINT) is signal.default_int_handler  # others may have it ignored
    if usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _call_this_machine_itself() -> None:
    """Keeps calls to servers on this machine from a proxy that the environment names, which could not reach them."""
    spared = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if spared != "*" and LOOPBACK not in spared:
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{spared},{LOOPBACK}".lstrip(",")


def _said(error: Exception) -> str:
    """What an error says; what the system says of a file, in words."""
    if not (isinstance(error, OSError) and error.filename and error.strerror):
        return str(error)
    return f"{error.filename}: {error.strerror}{HINTS.get(error.errno or 0, '')}"


def _usage() -> str:
    lines = [f"  {name:10} {text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: npcmeta COMMAND ...", "", *lines, "", "npcmeta COMMAND --help says more."])
