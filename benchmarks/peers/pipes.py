"""Two bare Pipes, one for each direction, and blocking calls at both ends: the floor of one
session.

No threads, no sessions, no loop: `receive` blocks the loop that it is awaited on, so that
only one session at a time can be measured.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Self

from ..workload import work

__all__ = ["BarePipes", "WithOurImports"]


class BarePipes:
    """See `Peer`."""

    def __init__(self) -> None:
        self._serve: Callable[[Connection, Connection], None] = _serve
        self._hosts: list[PipesHost] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for host in self._hosts:
            await host.close()

    async def open_host(self) -> PipesHost:
        host = PipesHost(self._serve)
        self._hosts.append(host)
        return host


class WithOurImports(BarePipes):
    """Each host first imports what an app's process of mpkernel imports, and uses nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self._serve = _serve_with_our_imports


class PipesHost:
    """See `Host`; it is its only session, too.

    Args:
        serve: what its process does.
    """

    def __init__(self, serve: Callable[[Connection, Connection], None]) -> None:
        context = multiprocessing.get_context("spawn")
        command, self._down = context.Pipe(duplex=False)
        self._up, stream = context.Pipe(duplex=False)
        self._process = context.Process(target=serve, args=(command, stream), daemon=True)
        self._process.start()
        command.close()
        stream.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    async def open_session(self) -> Self:
        self.send(b"echo ready")
        await self.receive()
        return self

    def send(self, payload: bytes) -> None:
        self._down.send_bytes(payload)

    async def receive(self) -> bytes:
        return self._up.recv_bytes()

    async def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._down.close()
        self._up.close()


def _serve(command: Connection, stream: Connection) -> None:
    work(command.recv_bytes, stream.send_bytes)


def _serve_with_our_imports(command: Connection, stream: Connection) -> None:
    import mpkernel.host.main  # noqa: F401 (the import is what is measured)

    _serve(command, stream)
