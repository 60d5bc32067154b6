"""`LoopEnd`: work that an event loop does last, before it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["LoopEnd"]


class LoopEnd:
    """Has `last` awaited when the running loop is shut down: by `asyncio.run`, by a server, by a
    test client. A program that closes its loop without shutting it down does not await it.

    A loop tells nobody of its end, but it closes the async generators that were begun on it
    (`loop.shutdown_asyncgens`). So one is begun here, and closing it awaits `last`. At that time
    the loop's tasks are cancelled, and the loop still runs: `last` may wait, but should not wait
    long.

    Args:
        last: awaited once, on the loop. The loop's exception handler is given what it raises.

    Raises:
        RuntimeError: no loop runs in this thread.
    """

    def __init__(self, last: Callable[[], Awaitable[None]]) -> None:
        asyncio.get_running_loop()
        self._last: Callable[[], Awaitable[None]] | None = last
        self._generator = self._wait()
        _step(self._generator.__anext__())

    def cancel(self) -> None:
        """Do not await `last` at the loop's end. From any thread. Idempotent."""
        if self._last is not None:
            self._last = None
            _step(self._generator.aclose())

    async def _wait(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            last, self._last = self._last, None
            if last is not None:
                await last()


def _step(awaitable: Awaitable[None]) -> None:
    """Run the generator until it yields or ends. Until then it awaits nothing."""
    try:
        awaitable.__await__().send(None)
    except StopIteration:
        return
