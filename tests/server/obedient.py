"""Sessions whose kernels execute what they are told, and the virtual files that they keep then."""

from __future__ import annotations

import ast
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from server.conftest import APPS

from mpkernel import Channel, HostPool, KernelSpec, Session
from shm.names import tag_of

__all__ = ["FILES", "OBEY", "Obeying", "Told", "blocks", "bytes_of", "obeying_in"]

FILES = APPS / "files.py"
OBEY = KernelSpec(entry="files:obey")

Obeying = Callable[..., Awaitable["Told"]]


class Told:
    """A session whose kernel executes the code that it is sent."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def do(self, code: str) -> Any:
        """Execute `code` in the kernel. Returns what it left in `result`."""
        self.session.send(Channel.CONTROL, code.encode())
        answer = (await anext(self.session)).payload.decode()
        assert "Traceback" not in answer, answer
        return ast.literal_eval(answer)

    async def fail(self, code: str) -> str:
        """The traceback that `code` ends with."""
        self.session.send(Channel.CONTROL, code.encode())
        answer = (await anext(self.session)).payload.decode()
        assert "Traceback" in answer
        return answer

    @property
    def prefix(self) -> str:
        """How the names of the host's blocks begin."""
        return tag_of(self.session.pid).prefix


def obeying_in(pool: HostPool) -> Obeying:
    """Opens such sessions, by default of `FILES`."""

    async def opened(app: Path = FILES) -> Told:
        return Told(await pool.open_session(app, kernel=OBEY))

    return opened


def bytes_of(pool: HostPool, key: str, start: int = 0, length: int | None = None) -> bytes:
    """What the server reads of a virtual file, in small chunks."""
    with pool.files.lease(key) as entry:
        return b"".join(entry.chunks(start, length, chunk_bytes=1000))


def blocks(prefix: str) -> set[str]:
    """The blocks whose names begin like this."""
    return {name for name in os.listdir("/dev/shm") if name.startswith(prefix)}
