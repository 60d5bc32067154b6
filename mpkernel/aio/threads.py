"""Work that may block, on a thread of its own if there can be one."""

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
    """Do `work` on a thread of its own. If no thread can be started, do it on the loop's thread:
    work that ends a process, or cleans up after one, must be done in any case.

    The loop's own executor is not used: it queues work while it has no thread, and a loop that has
    an executor needs one more thread to shut it down.

    Raises:
        BaseException: whatever `work` raises.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        nonlocal work
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 (it is raised where the result is awaited)
            future.set_exception(error)
        else:
            del work  # whoever has the result may count on it that nothing else keeps what it needs
            future.set_result(result)

    try:
        threading.Thread(target=run, name="off-the-loop").start()
    except RuntimeError as error:
        logger.warning("no thread can be started, so the event loop does its work: %s", error)
        return work()
    # If the caller is cancelled, the work goes on, and only its result is given up.
    return await asyncio.shield(asyncio.wrap_future(future))
