"""Signals that ask a program to end: as an event, or with a word before."""

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


def before_ending(call: Callable[[], None]) -> Callable[[], None]:
    """Have SIGINT and SIGTERM call `call` before they do what they do now, which must be to ask
    the program to end: a signal that ends it at once, or that is ignored, stays as it is. So does
    everything on a thread where no handler can be set.

    Args:
        call: quick, and safe wherever the main thread happens to be.

    Returns:
        What takes it back: no signal calls it from then on. For the same thread.
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
    """A signal's handler that calls, and then does what the handler before it does."""

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
    """The handler of before; where somebody has set another since, that may call ours."""
    ours.call = None
    now: object = signal.getsignal(number)
    if now is ours:
        signal.signal(number, ours.before)
