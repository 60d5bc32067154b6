"""Work that may wait, off the loop, where there is a thread for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["off_the_loop"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def off_the_loop(work: Callable[[], T]) -> T:
    """Do `work` on a thread of its own. Where the system gives none, the loop itself does it: what
    ends a process, or cleans up after one, must not be left undone for that.

    Not on the loop's own executor: that queues what it has no thread for, and a loop that has one
    needs another thread for its end.

    Raises:
        BaseException: whatever `work` raises.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (it is raised where the result is awaited)
            future.set_exception(error)

    try:
        threading.Thread(target=run, name="off-the-loop").start()
    except RuntimeError as error:
        logger.warning("the event loop has to wait for what a thread should do: %s", error)
        return work()
    # A caller that is cancelled gives up the result, not the work.
    return await asyncio.shield(asyncio.wrap_future(future))
