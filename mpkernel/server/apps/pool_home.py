"""`PoolHome`: the process and the event loop that a pool belongs to, and who may use it there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from mpkernel.aio.loop_end import LoopEnd
from mpkernel.aio.loops import running_loop
from mpkernel.errors import PoolClosed
from mpkernel.server.apps.closed_pool import closed_pool

__all__ = ["PoolHome"]


class PoolHome:
    """The process in which a pool was made, and the event loop on which it was first used.

    A fork of that process has copies of all descriptors of the pool, but none of the processes is
    its child, and no loop runs in it. If it ended the pool, it would end that of its parent. On
    another loop, what the pool wakes would not be woken.

    Attributes:
        loop: the event loop; None until the pool is used.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._end: LoopEnd | None = None

    @property
    def is_forked(self) -> bool:
        """Whether the calling process is a fork of the one that the pool belongs to."""
        return os.getpid() != self._pid

    @property
    def loop_is_closed(self) -> bool:
        """Whether the event loop was closed."""
        return self.loop is not None and self.loop.is_closed()

    def begin(self, last: Callable[[], Awaitable[None]]) -> asyncio.AbstractEventLoop:
        """Let the pool belong to the running loop, unless it has a loop already. Returns its loop.

        Args:
            last: awaited when the loop is shut down, unless `cancel_end` was called.
        """
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
            self._end = LoopEnd(last)
        return self.loop

    def cancel_end(self) -> None:
        """Have nothing awaited when the loop is shut down. Idempotent."""
        if self._end is not None:
            self._end.cancel()

    def check(self, *, closed: bool = False) -> None:
        """Check that the pool can be used here.

        Args:
            closed: whether it is closed.

        Raises:
            PoolClosed: it is closed, this is a fork of its process, or its loop was closed.
            RuntimeError: as `check_loop`.
        """
        if self.is_forked:
            raise PoolClosed(
                "the pool belongs to the process of which this one is a fork",
                remedy="make a pool of its own in the fork",
            )
        if closed or self.loop_is_closed:
            raise closed_pool(self.loop)
        self.check_loop()

    def check_loop(self) -> None:
        """Check that this is the thread of the pool's loop, and that no other loop runs here. Once
        the loop is closed, every thread will do.

        Raises:
            RuntimeError: another loop runs here, or the pool's runs in another thread.
        """
        if self.loop_is_closed or self.is_forked:
            return
        if self.loop is None:
            return
        running = running_loop()
        if running not in (None, self.loop):
            raise RuntimeError(
                "the pool belongs to the event loop that used it first, and this is another one"
                " (asyncio.run_coroutine_threadsafe calls it there; or make a pool for each loop)"
            )
        if running is None and self.loop.is_running():
            raise RuntimeError(
                "the pool belongs to the event loop that used it first, which runs in another"
                " thread (its call_soon_threadsafe calls a function there)"
            )
