"""What the tests of the store share: a store with short times, and one in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpkernel.server.store.session_store import SessionStore, key_of

APP = "/srv/app.py"

_SERVER = """
import sys, pathlib
from mpkernel.server.store.session_store import SessionStore, key_of
store = SessionStore(
    pathlib.Path(sys.argv[1]),
    delay_s=float(sys.argv[2]),
    ttl_s=60,
    most_sessions=99,
    most_bytes=1 << 20,
)
content = b""
stored = store.keep(key_of(sys.argv[3], "mine"), sys.argv[3], lambda: content)
for line in sys.stdin.buffer:
    content = line.strip()
    stored.changed(by_client=True)
    print("changed", flush=True)
"""


def store_in(
    directory: Path,
    *,
    delay_s: float = 0.0,
    ttl_s: float = 60,
    most_sessions: int = 99,
    most_bytes: int = 1 << 20,
) -> SessionStore:
    return SessionStore(
        directory,
        delay_s=delay_s,
        ttl_s=ttl_s,
        most_sessions=most_sessions,
        most_bytes=most_bytes,
    )


def files_in(directory: Path) -> list[Path]:
    """The files of sessions, of all servers, without those that are being written."""
    files = (path for path in directory.glob("*-*/*") if path.name != "owner")
    return sorted(path for path in files if path.suffix != ".new")


class OtherServer:
    """A process that stores one session of the name "mine".

    Args:
        directory: of the store.
        delay_s: see `SessionStore`.
    """

    def __init__(self, directory: Path, delay_s: float = 0.0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(directory), str(delay_s), APP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def change(self, content: bytes) -> None:
        """Returns when the session has said that it has changed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(content + b"\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"changed\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def other_server(directory: Path, delay_s: float = 0.0) -> Iterator[OtherServer]:
    server = OtherServer(directory, delay_s)
    try:
        yield server
    finally:
        server.kill()


KEY = key_of(APP, "mine")
