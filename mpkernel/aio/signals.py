"""Signals that ask a program to end: as an event, or with a call before the signal's own
handler."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

__all__ = ["before_ending", "ending_signals"]

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ending_signals(numbers: tuple[signal.Signals, ...] = _ENDING) -> Iterator[asyncio.Event]:
    """While this ``with`` lasts, each of these signals sets the event and does nothing else. At its
    end, the previous handlers are set again. Handlers can be set on the main thread only: on any
    other, the event stays unset.
    """
    came = asyncio.Event()
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {
        number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(came.set))
        for number in numbers
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def before_ending(call: Callable[[], None]) -> Callable[[], None]:
    """Have SIGINT and SIGTERM call `call` before they call their present handler. A signal that has
    no handler of the program's own (it ends the program at once, or is ignored) stays as it is. On
    a thread where no handler can be set, nothing is changed.

    Args:
        call: must be quick, and safe at any point of the main thread's code.

    Returns:
        A function that undoes this: afterwards no signal calls `call`. Call it on the same thread.
    """
    undo = ExitStack()
    if threading.current_thread() is not threading.main_thread():
        return undo.close
    for number in _ENDING:
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:
            ours = _Calling(call, handler)
            signal.signal(number, ours)
            undo.callback(_restore, number, ours)
    return undo.close


class _Calling:
    """A signal's handler that makes a call, and then calls the previous handler."""

    def __init__(
        self,
        call: Callable[[], None],
        before: Callable[[int, FrameType | None], object],
    ) -> None:
        self.call: Callable[[], None] | None = call
        self.before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.call is not None:
            self.call()
        self.before(number, frame)


def _restore(number: signal.Signals, ours: _Calling) -> None:
    """Set the previous handler again. If somebody has set another one since, it stays: it may call
    ours, which from now on only calls the previous one."""
    ours.call = None
    now: object = signal.getsignal(number)
    if now is ours:
        signal.signal(number, ours.before)
