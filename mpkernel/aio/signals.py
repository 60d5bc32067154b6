"""Signals that ask a program to end, as an event."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ending_signals"]

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ending_signals() -> Iterator[asyncio.Event]:
    """In this ``with``, SIGINT and SIGTERM set the event and do nothing else; the handlers of
    before are back at its end. On a thread where no handler can be set, the event stays unset.
    """
    came = asyncio.Event()
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {
        number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(came.set))
        for number in _ENDING
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
