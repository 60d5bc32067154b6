"""Whole frames onto the stream Pipe, from any thread, under any interruption.

Kernel threads write for themselves. A collector thread between would cost a switch interval
(5 ms) a message whenever another thread is busy.

What can come between, and what is done about it:
- another thread: one lock, and one `writev` a frame on a blocking descriptor. Who finds the lock
  taken leaves the frame to its owner, who sends what waits before going on: a small message waits
  for no lock that a flood takes again and again ("flat combining": Hendler and others, 2010).
- an asynchronous exception: it can land between any two bytecodes, so between a header and its
  body if they were two writes. The frame is built before the lock is taken; `with` on a lock
  written in C is entered and left without a gap.
- the garbage collector: it can run a `__del__` that writes, on the thread that is inside. It finds
  the lock taken.
- a fork by user code: the child must never write here; see `forget`.
- a reader that is behind: `Window` lets the session's writers wait, and no one else's.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import TypeAlias

from mpkernel.wire.frames import HEADER_BYTES, Channel, encode_header
from mpkernel.wire.messages import UpMessage, encode

__all__ = ["StreamWriter"]

_Frame: TypeAlias = tuple[bytes, bytes]
# Two parts each, and one more frame: Linux takes 1,024 parts.
_FRAMES_PER_WRITE = 256
# With more than these waiting, a thread waits for the lock: who has it shall not write for others
# for ever.
_FRAMES_LEFT = 64
_LOOK_AGAIN_S = 1.0


class StreamWriter:
    """The host's end of a Pipe that leads up.

    Args:
        fd: a blocking descriptor, open for writing.
        max_frame_bytes: the largest frame that may be sent.
        on_lost: called, before the error is raised, when the descriptor cannot be written to any
            more: the server is gone, or user code closed it.

    Attributes:
        forgotten: whether it writes to nowhere: it is closed, or a forked child's copy.
    """

    def __init__(
        self, fd: int, *, max_frame_bytes: int, on_lost: Callable[[], object] | None = None
    ) -> None:
        self._fd = fd
        self._on_lost = on_lost
        self._max_frame_bytes = max_frame_bytes
        self._lock = threading.Lock()
        self._owner = 0  # the thread that took the lock last
        self._waiting: deque[_Frame | threading.Lock] = deque()  # a lock: see `settle`
        self.forgotten = False

    def send(self, message: UpMessage, *, session: int = 0) -> None:
        """Write a management message. Never waits for a window.

        Raises:
            OSError: the server is gone.
        """
        self.write(Channel.MANAGEMENT, session, encode(message))

    def post(self, message: UpMessage, *, session: int = 0) -> None:
        """Have a management message written before the next frame, whoever writes that, in the same
        system call. Never waits, and may be called from a `__del__`."""
        if not self.forgotten:
            payload = encode(message)
            self._waiting.append(
                (encode_header(Channel.MANAGEMENT, session, len(payload)), payload)
            )

    def write(self, channel: Channel, session: int, payload: bytes) -> None:
        """Write one frame, whole, after all that this thread wrote or posted before; or leave it to
        the thread that is writing.

        Raises:
            ProtocolError: the frame is over the maximum size. Nothing was written.
            OSError: the server is gone.
        """
        header = encode_header(
            channel, session, len(payload), max_frame_bytes=self._max_frame_bytes
        )
        if not (self._lock.locked() or self._waiting):
            with self._lock:
                self._owner = get_ident()
                self._write((header, payload), HEADER_BYTES + len(payload))
        elif len(self._waiting) < _FRAMES_LEFT or self.is_inside:
            self._waiting.append((header, payload))
        else:
            with self._lock:
                self._waiting.append((header, payload))
                self._write_waiting()
        if self._waiting:
            self.flush()

    def flush(self) -> None:
        """Write what waits, or leave it to the thread that is writing.

        Raises:
            OSError: the server is gone.
        """
        # Looked at again after the lock is given up: what was left meanwhile is not forgotten.
        while self._waiting and not self._lock.locked():
            with self._lock:
                self._write_waiting()

    def settle(self) -> None:
        """Wait until all that was written, posted or left until now is on the Pipe: the server
        learns of it even if the process ends next.

        Raises:
            OSError: the server is gone.
        """
        if not self._is_busy():
            return
        # A mark among the frames, for a thread that floods may take the lock again and again. Who
        # has written what is before the mark opens it.
        mark = threading.Lock()
        mark.acquire()
        self._waiting.append(mark)
        self.flush()
        while not mark.acquire(timeout=_LOOK_AGAIN_S):
            self.flush()
            if not self._is_busy():  # an exception thrown into that thread came between
                return

    @property
    def is_inside(self) -> bool:
        """Whether the calling thread is in the middle of a write: a `__del__` is."""
        return self._lock.locked() and self._owner == get_ident()

    def close(self) -> None:
        """Write nothing any more: the host leaves."""
        self.forgotten = True

    def forget(self) -> None:
        """Make this a writer to nowhere: for a forked child, whose copy of the lock may be held by
        a thread that it does not have."""
        self.forgotten = True
        self._lock = threading.Lock()
        self._waiting.clear()

    def _is_busy(self) -> bool:
        return bool(self._waiting) or self._lock.locked()

    def _write_waiting(self) -> None:
        self._owner = get_ident()
        while self._waiting:
            frames, mark = self._taken()
            try:
                if frames:
                    self._write([part for frame in frames for part in frame], _size_of(frames))
            finally:
                if mark is not None:
                    mark.release()

    def _taken(self) -> tuple[list[_Frame], threading.Lock | None]:
        """What waits, at most as many frames as one `writev` takes, and the mark behind them."""
        frames: list[_Frame] = []
        while self._waiting and len(frames) < _FRAMES_PER_WRITE:
            taken = self._waiting.popleft()
            if not isinstance(taken, tuple):
                return frames, taken
            frames.append(taken)
        return frames, None

    def _write(self, parts: Sequence[bytes | memoryview], size: int) -> None:
        if self.forgotten:
            return
        # A blocking writev writes everything unless a signal handler ran meanwhile.
        try:
            while (written := os.writev(self._fd, parts)) < size:
                size -= written
                parts = [memoryview(b"".join(parts))[written:]]
        except OSError:
            if self._on_lost is not None:
                self._on_lost()
            raise


def _size_of(frames: list[_Frame]) -> int:
    return sum(HEADER_BYTES + len(payload) for _, payload in frames)
