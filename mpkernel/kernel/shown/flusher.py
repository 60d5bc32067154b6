"""The thread that sends what was printed a while ago, for all sessions of the process.

It waits for no client: a session whose window is full comes again later.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Protocol

__all__ = ["flush_soon", "start_flusher"]

_FLUSH_AFTER_S = 0.02


class Buffer(Protocol):
    """What is flushed.

    Attributes:
        is_waiting: the flusher's; False at first. To be flushed twice is harmless.
    """

    is_waiting: bool

    def try_flush(self) -> bool:
        """Send what can be sent without waiting; returns whether nothing is left."""
        ...


class _Flusher:
    def __init__(self) -> None:
        # Of this kind, not a lock of our own: `put` may be called from a `__del__` within `put`.
        self._dirty: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="mpkernel-console", daemon=True).start()

    def add(self, buffer: Buffer) -> None:
        self._dirty.put(buffer)

    def _run(self) -> None:
        while True:
            buffer = self._dirty.get()
            time.sleep(_FLUSH_AFTER_S)
            buffer.is_waiting = False
            if not buffer.try_flush():
                time.sleep(_FLUSH_AFTER_S)
                self._again(buffer)

    def _again(self, buffer: Buffer) -> None:
        if not buffer.is_waiting:
            buffer.is_waiting = True
            self.add(buffer)


_flusher: _Flusher | None = None
_flusher_lock = threading.Lock()


def start_flusher() -> None:
    """Have the thread run already when `flush_soon` is called: for callers that must not wait for
    its start. Idempotent."""
    global _flusher
    with _flusher_lock:
        if _flusher is None:
            _flusher = _Flusher()


def flush_soon(buffer: Buffer) -> None:
    """Have `buffer` flushed within about 20 ms."""
    if buffer.is_waiting:
        return
    buffer.is_waiting = True
    if _flusher is None:
        start_flusher()
    assert _flusher is not None
    _flusher.add(buffer)
