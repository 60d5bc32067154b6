"""What the tests of operations share: a user with directories of their own, a server to look at."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from waiting import PATIENCE_S

from mpkernel.server.operations.finding import published_servers

_SERVER = """
import asyncio, os, sys
from mpkernel import HostPool, PythonClient, Settings

async def main():
    settings = Settings(snapshot=True, control=True, crash_reports=10)
    async with HostPool(settings) as pool:
        clients = []
        for number, app in enumerate(sys.argv[1:]):
            name = f"visitor{number or ''}"
            clients.append(client := await PythonClient.open(pool, app, session_id=name))
            says = "import os; os.write(1, b'written' + bytes([10])); print('here')"
            client.execute(says, cell="first")
            async for message in client:
                if "here" in getattr(message, "text", ""):
                    break
        print("ready\\n", end="", flush=True)  # in one piece: the app's text comes between two
        while not pool.closed:
            await asyncio.sleep(0.05)

asyncio.run(main())
"""


@contextmanager
def user_directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with `run` and `state`, which are the user's own. Its path is short: that of a
    socket must be."""
    folder = Path(tempfile.mkdtemp(prefix="mpk-t-"))
    (folder / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def ready_hosts() -> list[int]:
    """The ids of the processes of apps that `mpkernel status` shows as ready. It is quicker than
    the command, for those who wait."""
    return [
        host.pid
        for server in published_servers()
        for app in server.snapshot.pool.apps
        for host in app.hosts
        if host.state == "ready"
    ]


class OperatedServer:
    """A server with sessions that an operator can see, in a process of its own.

    Args:
        folder: where its apps are.
        apps: for each session, the name of its app. Default: one session of one app.
    """

    def __init__(self, folder: Path, *apps: str) -> None:
        paths = [folder / name for name in apps or ("served.py",)]
        for path in paths:
            path.write_text("")
        self.app = paths[0]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, *map(str, paths)], stdout=subprocess.PIPE
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        deadline = threading.Timer(PATIENCE_S, self.process.kill)
        deadline.start()
        while (line := self.process.stdout.readline()) != b"ready\n":
            assert line, "the server has ended, or was not ready in time"
        deadline.cancel()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> None:
        """Send SIGSTOP to the server, and wait until it is stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self) -> None:
        """Send SIGCONT to the server."""
        os.kill(self.pid, signal.SIGCONT)
