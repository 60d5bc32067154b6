"""How a pool leaves with its server, so that cells that run may come to their end.

Servers tell that they end to the outermost application alone, by its lifespan. What is mounted in
it learns of it otherwise, and cannot answer; so there are two ways:

    lifespan   `leave_in_order` hears the shutdown, and has the server wait for its answer
    mounted    the server's own signal says so; a server first disconnects its pages, then waits for
               the tasks that served them, and `Leaving.connection` holds these until all has left

A page that is told that its session has ended gives up, one that is disconnected connects again. So
nothing ends while one is connected: after a reload it finds the server's next process.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from mpkernel.aio.signals import before_ending, ending_signals
from mpkernel.server.pool import HostPool

__all__ = ["LEASES", "Leaving", "leave_in_order"]

LEASES = "mpkernel.leases"
"""Where a scope carries the list to which applications add their leases, for the lifespan of the
application that they are part of."""


class Leaving:
    """The end of the server that `hosts` belong to. On the loop's thread.

    Attributes:
        begun: whether the server is about to end.
    """

    def __init__(self, hosts: HostPool) -> None:
        self.begun = False
        self._hosts = hosts
        self._unwatch: Callable[[], None] | None = None
        self._connections = 0
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._drain: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """The server is about to end: sessions that it closes may finish what they run."""
        self.begun = True

    def watch_signals(self) -> None:
        """Begin with the signal that asks the server to end. Idempotent."""
        if self._unwatch is None:
            self._unwatch = before_ending(self.begin)

    def unwatch_signals(self) -> None:
        """The pool is gone, and the program goes on."""
        if self._unwatch is not None:
            self._unwatch()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        """While a page is connected; when the server ends it, until all processes have left."""
        self._connections += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self._connections -= 1
            if not self._connections:
                self._nobody.set()
            if self.begun:
                # Supervisors repeat SIGTERM for a process that they wait for.
                await self._drained(hurry=(signal.SIGINT,))

    async def drained(self) -> None:
        """Wait until every process has left, and no longer than `Settings.drain_grace_s` for the
        commands that run; a further signal ends them at once. Of pages that are still connected
        the server has washed its hands."""
        self._nobody.set()
        await self._drained(hurry=(signal.SIGINT, signal.SIGTERM))

    async def _drained(self, hurry: tuple[signal.Signals, ...]) -> None:
        if self._drain is None:
            self._drain = asyncio.create_task(self._do_drain(hurry))
        await asyncio.shield(self._drain)

    async def _do_drain(self, hurry: tuple[signal.Signals, ...]) -> None:
        await self._nobody.wait()
        with ending_signals(hurry) as at_once:
            await self._hosts.drain(at_once=at_once)


class _Lease(Protocol):
    def begin_shutdown(self) -> None: ...
    async def drained(self) -> None: ...


async def leave_in_order(
    leases: Sequence[_Lease], app: Callable[..., Any], scope: Any, receive: Any, send: Any
) -> None:
    """Run a lifespan of `app` whose end waits for the commands that run in what is leased."""

    async def heard() -> Any:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            for lease in leases:
                lease.begin_shutdown()
        return message

    async def said(message: Any) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            for lease in leases:
                await lease.drained()
        await send(message)

    await app(scope, heard, said)
