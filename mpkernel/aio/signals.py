"""Signals that ask a program to end: as an event, or with a word before."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["before_ending", "ending_signals"]

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ending_signals(numbers: tuple[signal.Signals, ...] = _ENDING) -> Iterator[asyncio.Event]:
    """In this ``with``, each of these signals sets the event and does nothing else; the handlers of
    before are back at its end. On a thread where no handler can be set, the event stays unset.
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


def before_ending(call: Callable[[], None]) -> None:
    """Have SIGINT and SIGTERM call ``call`` before they do what they do now, which must be to ask
    the program to end: a signal that ends it at once, or that is ignored, stays as it is. So does
    everything on a thread where no handler can be set.

    Args:
        call: quick, and safe wherever the main thread happens to be.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _ENDING:
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:
            signal.signal(number, _calling(call, handler))


def _calling(
    call: Callable[[], None], handler: Callable[[int, FrameType | None], object]
) -> Callable[[int, FrameType | None], None]:
    def called(number: int, frame: FrameType | None) -> None:
        call()
        handler(number, frame)

    return called
