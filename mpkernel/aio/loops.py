"""Where event loops are made, so that every loop of the project is of the same kind.

Servers that bring a loop of their own (uvicorn, a test runner) are not touched: no policy is set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["new_event_loop", "run", "running_loop"]

T = TypeVar("T")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop: uvloop's where uvloop is installed, else asyncio's.

    The loop is neither running nor set as anybody's current loop; the caller closes it. It fits
    ``asyncio.Runner(loop_factory=new_event_loop)``.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run ``coroutine`` to its end on a new loop of `new_event_loop` and return its result.

    Like `asyncio.run` in all else: tasks that ``coroutine`` leaves behind are cancelled, and the
    loop is closed.

    Raises:
        RuntimeError: this thread already runs a loop.
        BaseException: whatever ``coroutine`` raises.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(coroutine)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or None: a question, where others raise."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
