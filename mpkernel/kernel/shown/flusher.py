"""The thread that sends text which was printed some time ago, for all sessions of the process.

It waits for no client: when the window of a session is full, it tries that session again later.
"""

from __future__ import annotations

import queue
import threading
from typing import Protocol

from mpkernel.own_clock import sleep

__all__ = ["flush_soon", "start_flusher"]

_FLUSH_AFTER_S = 0.02


class Buffer(Protocol):
    """A buffer that the thread flushes.

    Attributes:
        is_waiting: False at first; only the flusher changes it. Flushing twice does no harm.
    """

    is_waiting: bool

    def try_flush(self) -> bool:
        """Send what can be sent without waiting. Returns whether nothing is left."""
        ...


class _Flusher:
    def __init__(self) -> None:
        # A `SimpleQueue`, and not a lock: `put` may be called by a `__del__` that runs within
        # `put`.
        self._dirty: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="mpkernel-console", daemon=True).start()

    def add(self, buffer: Buffer) -> None:
        self._dirty.put(buffer)

    def _run(self) -> None:
        while True:
            buffer = self._dirty.get()
            sleep(_FLUSH_AFTER_S)
            buffer.is_waiting = False
            if not buffer.try_flush():
                sleep(_FLUSH_AFTER_S)
                self._again(buffer)

    def _again(self, buffer: Buffer) -> None:
        if not buffer.is_waiting:
            buffer.is_waiting = True
            self.add(buffer)


_flusher: _Flusher | None = None
_flusher_lock = threading.Lock()


def start_flusher() -> None:
    """Start the thread before `flush_soon` is called, for callers that must not wait for its start.
    Idempotent."""
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
