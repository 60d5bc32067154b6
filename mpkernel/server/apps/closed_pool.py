"""`closed_pool`: the error for a caller that uses a closed pool."""

from __future__ import annotations

import asyncio

from mpkernel.errors import PoolClosed

__all__ = ["closed_pool"]


def closed_pool(loop: asyncio.AbstractEventLoop | None) -> PoolClosed:
    """The error. It says why the pool is closed, and what to do instead.

    Args:
        loop: the event loop that the pool belongs to; None if it was never used.
    """
    if loop is None or not loop.is_closed():
        return PoolClosed("the pool is closed", remedy="open a new one")
    return PoolClosed(
        "the pool's event loop was closed, and the pool with it: `asyncio.run` does this when its"
        " coroutine has ended",
        remedy="use a pool within one `asyncio.run`: `async with HostPool() as pool:`",
    )
