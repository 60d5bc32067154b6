"""Workers of a server in a test, what they serve, and a browser that asks them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from mpkernel.server.workers.serving import AsgiApp, Content, Receive, Scope, Send
from mpkernel.server.workers.worker import Worker

__all__ = [
    "CHUNK",
    "Browser",
    "body",
    "in_another_process",
    "nothing",
    "runtime_directory",
    "serve",
    "worker",
]

MOST_BYTES = 8 * 1024 * 1024
CHUNK = b"x" * 256 * 1024


@contextlib.contextmanager
def runtime_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of this test alone, where its workers find each other; by a short path."""
    with tempfile.TemporaryDirectory(prefix="workers-") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory, "mpkernel")


@contextlib.asynccontextmanager
async def worker(app: AsgiApp, *, files: str = "", leave_s: float = 5.0) -> AsyncIterator[Worker]:
    """A worker of the server `of-tests`.

    Args:
        app: what it serves.
        files: the name of the one virtual file that it has.
        leave_s: how long it waits for a worker that leaves.
    """
    one = Worker(
        "of-tests",
        {"/": app},
        lambda encoded: msgspec.msgpack.decode(encoded, type=dict[str, object]),
        lambda name: name == files,
        lambda session: True,
        most_bytes=MOST_BYTES,
        keep_s=60,
        leave_s=leave_s,
    )
    await one.start()
    try:
        yield one
    finally:
        await one.close()


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    return


class Browser:
    """One request: what is sent, and what has come."""

    def __init__(self, *contents: Content) -> None:
        self.got: list[Any] = []
        self.to_send: asyncio.Queue[Content] = asyncio.Queue()
        for content in contents:
            self.to_send.put_nowait(content)

    async def receive(self) -> Content:
        return await self.to_send.get()

    async def send(self, content: Content) -> None:
        self.got.append(content)

    @property
    def body(self) -> bytes:
        return b"".join(content.get("body", b"") for content in self.got)


async def serve(one: Worker, session: str, browser: Browser, kind: str = "http") -> None:
    peer = one.owner_of(session)
    assert peer is not None
    scope = msgspec.msgpack.encode({"type": kind})
    await peer.serve("/", scope, browser.receive, browser.send)


def body(part: bytes = b"", *, more: bool = False) -> Content:
    return {"type": "http.request", "body": part, "more_body": more}


FOREIGN = """
import asyncio, os, signal, sys, time
sys.path[:0] = {path!r}
from server.workers_of_tests import worker

async def forever(scope, receive, send):
    await receive()
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await receive()

def fork(*_):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)

async def main():
    async with worker(forever) as one:
        await one.page_opens("s")
        await one.page_opens("t")
        signal.signal(signal.SIGUSR1, fork)
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def in_another_process() -> AsyncIterator[psutil.Process]:
    """A worker that has the sessions "s" and "t". It forks when it gets SIGUSR1."""
    code = FOREIGN.format(path=[str(Path(__file__).parent.parent)])
    started = subprocess.Popen(
        (sys.executable, "-c", code), stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert started.stdout is not None
        assert await asyncio.to_thread(started.stdout.readline) == b"ready\n"
        yield psutil.Process(started.pid)
    finally:
        os.killpg(started.pid, signal.SIGKILL)  # with its forks
        await asyncio.to_thread(started.communicate)
