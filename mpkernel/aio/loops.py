"""Where event loops are made, so that every loop of the project is of the same kind.

Servers that bring a loop of their own (uvicorn, a test runner) are not touched: no policy is set.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["call_on_loop", "new_event_loop", "result_on_loop", "run", "running_loop"]

T = TypeVar("T")

# How long to wait for another thread's loop before asking again whether the loop is closed.
_LOOK_AGAIN_S = 0.1


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
    """Return the loop that runs in this thread, or None if none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def call_on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Make a call on the loop's thread: at once if this is that thread, else soon. If the loop is
    closed, the call is not made: the program is about to end."""
    if running_loop() is loop:
        call()
        return
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        if not loop.is_closed():
            raise


def result_on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], T]) -> T:
    """Make a call on the loop's thread, and wait for its result.

    Raises:
        RuntimeError: the loop was closed before it made the call.
        BaseException: whatever ``call`` raises.
    """
    if running_loop() is loop:
        return call()
    result: concurrent.futures.Future[T] = concurrent.futures.Future()

    def on_loop() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)
            if not isinstance(error, Exception):
                raise  # the loop must see KeyboardInterrupt and SystemExit, too

    loop.call_soon_threadsafe(on_loop)
    while True:
        try:
            return result.result(_LOOK_AGAIN_S)
        except TimeoutError:
            # A closed loop makes no more calls, and tells nobody. If `result` is done, the
            # TimeoutError is that of the call itself.
            if result.done():
                raise
            if loop.is_closed():
                raise RuntimeError("the event loop was closed before it made the call") from None
