"""How a pool ends with its server, so that cells that run can be finished.

A server tells only the outermost application that it ends, by its lifespan. An application that is
mounted in it must learn of it in another way, and has no answer to give. So there are two ways:

    lifespan   `leave_in_order` receives the shutdown, and the server waits for its answer
    mounted    the signal that ends the server tells it. A server first disconnects its pages, then
               waits for the tasks that served them: `Leaving.connection` delays the end of these
               tasks until all processes have ended

A page that is told that its session has ended does not try again; a page that is disconnected
connects again. So no session ends while its page is connected: after a reload of the server the
page finds the next process.
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
"""The key in a scope of the list to which applications add their leases, for the lifespan of the
application that contains them."""


class Leaving:
    """The end of the server that `hosts` belong to. On the loop's thread.

    Attributes:
        begun: whether the server is about to end.
    """

    def __init__(self, hosts: HostPool) -> None:
        self.begun = False
        self._loop = asyncio.get_running_loop()
        self._hosts = hosts
        self._told: _Told | None = None
        self._unwatch: Callable[[], None] | None = None
        self._connections = 0
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._drain: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """The server is about to end: sessions that it closes may finish the code that they run.
        A signal's handler may call this."""
        if not (self.begun or self._told is None or self._loop.is_closed()):
            self._loop.call_soon_threadsafe(self._told.leave)
        self.begun = True

    def tell(self, told: _Told) -> None:
        """Have `told.leave` called when the server is about to end, and `told.close` when all
        processes have ended."""
        self._told = told
        if self.begun:
            told.leave()

    def watch_signals(self) -> None:
        """Call `begin` when a signal asks the server to end. Idempotent."""
        if self._unwatch is None:
            self._unwatch = before_ending(self.begin)

    def unwatch_signals(self) -> None:
        """Undo `watch_signals`: the pool is closed, and the program goes on."""
        if self._unwatch is not None:
            self._unwatch()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        """Entered while a page is connected. If the server ends the connection because it ends
        itself, this waits until all processes have ended."""
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
        """Wait until every process has ended. Commands that run have `Settings.drain_grace_s` for
        it; a further signal ends them at once. This does not wait for pages that are still
        connected: the server no longer does either."""
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
        if self._told is not None:
            await self._told.close()


class _Told(Protocol):
    def leave(self) -> None: ...
    async def close(self) -> None: ...


class _Lease(Protocol):
    def begin_shutdown(self) -> None: ...
    async def drained(self) -> None: ...


async def leave_in_order(
    leases: Sequence[_Lease], app: Callable[..., Any], scope: Any, receive: Any, send: Any
) -> None:
    """Run a lifespan of `app`. Its end waits for the commands that run in the leased pools.

    A server that is told twice to end (Ctrl-C, Ctrl-C) cancels its lifespan instead of ending it.
    Starlette reports that as a failure, with the traceback of the cancellation. That is not passed
    on: whoever ended the server knows why.
    """
    was_asked = False

    async def heard() -> Any:
        nonlocal was_asked
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            was_asked = True
            for lease in leases:
                lease.begin_shutdown()
        return message

    async def said(message: Any) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            for lease in leases:
                await lease.drained()
        if was_asked or message["type"] != "lifespan.shutdown.failed":
            await send(message)

    await app(scope, heard, said)
