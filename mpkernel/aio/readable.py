"""Tells the loop when a descriptor can be read, also when the read would report an error.

The callback does the reading.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

__all__ = ["ReadableWatch"]


class ReadableWatch:
    """Calls back on ``loop`` whenever a read of ``descriptor`` would not block.

    This includes end of file and errors, because a read reports them at once. With
    ``loop.add_reader`` alone, uvloop does not always call back: if a descriptor is in an error
    state (a duplex Pipe whose peer closed it with data unread), the callback is called once and
    never again, however much is left to read. The last frames, and the ECONNRESET behind them,
    would be lost. So the loop is given an epoll descriptor that watches the real one. It is
    readable whenever anything can be read from the real one, and it is never in an error state
    itself.

    Args:
        loop: the loop that calls back. `close` uses the same one.
        descriptor: still belongs to the caller. Its blocking mode is not changed.
        callback: called again and again as long as there is something to read.

    Raises:
        OSError: ``descriptor`` is closed, or of a kind that cannot be watched.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, descriptor: int, callback: Callable[[], object]
    ) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        try:
            self._epoll.register(descriptor, select.EPOLLIN)
            loop.add_reader(self._epoll.fileno(), callback)
        except BaseException:
            self._epoll.close()
            raise

    def close(self) -> None:
        """Stop calling back. To be called once, before ``descriptor`` is closed.

        On the loop's thread, or while the loop does not run. If the loop is closed, it watches
        nothing any more, and nothing is done.
        """
        if self._epoll.closed:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
