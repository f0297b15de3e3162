"""A process to be killed: for every database that it is told of, a child commits until it dies."""

import os
import sys

from npcmeta_server.store import CommitRequest, RequestKey, Store

PADDING = bytes(3_000)


def commit_for_ever(url: str) -> None:
    """Prints its process id, then the number of every commit that was acknowledged."""
    say(b"%d" % os.getpid())
    store = Store(url)
    while True:
        npc = store.npc("bob")
        number = npc.examples + 1
        clips = ((b"%d" % number + PADDING, 1),)
        wanted = CommitRequest("bob", npc.etag, "abc", number, 0.5, b"%d" % number + PADDING, clips, (), False)
        store.commit(wanted, RequestKey(f"Adapt:{number}", "1"))
        say(b"%d" % number)


def say(word: bytes) -> None:
    """One line in one write, so that a death leaves it out or leaves it whole."""
    os.write(sys.stdout.fileno(), word + b"\n")


if __name__ == "__main__":
    for line in sys.stdin:
        if os.fork() == 0:
            commit_for_ever(line.strip())
        os.wait()
        say(b"dead")
