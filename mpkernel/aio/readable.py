"""Knowing on the loop when a descriptor can be read, its errors included.

The reading itself is the callback's.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

__all__ = ["ReadableWatch"]


class ReadableWatch:
    """Calls back on ``loop`` whenever a read of ``descriptor`` would not block.

    End of file and errors count, as a read reports them at once. Used instead of a bare
    ``loop.add_reader``, which does not keep that promise on uvloop: for a descriptor in an error
    state (a duplex Pipe whose peer closed it with data unread) the callback comes once and never
    again, however much is left to read, so the last frames and the ECONNRESET behind them are
    lost. The loop is given an epoll descriptor that watches the real one: it is readable whenever
    there is news of any kind, and never in an error state itself.

    Args:
        loop: pinned here; `close` goes back to it.
        descriptor: stays the caller's, and its blocking mode as it is.
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
        """Stop calling back, once; to be done before ``descriptor`` is closed.

        On the loop's thread, or while the loop does not run. A closed loop has no readers left.
        """
        if self._epoll.closed:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
