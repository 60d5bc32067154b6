"""`StreamWriter`: whole frames onto the stream Pipe, from any thread, under any interruption.

Who takes part:

    kernel threads ─ write ──┐ each writes for itself
    the dispatcher ─ send ───┼─▶ _lock ─▶ writev ══ stream Pipe ══▶ server
    any `__del__`  ─ post ───┘     ▲
                         _waiting ─┘ frames that their threads left to whoever has the lock

There is no thread that collects frames from others: handing a frame over would cost a switch
interval of Python (5 ms) whenever another thread computes.

What a `write` does, in this order:
1. It builds the frame's header, and fails here if the frame is too large. Nothing is written yet.
2. If nobody has the lock and nothing waits, it takes the lock and writes.
3. If somebody has the lock, it puts the frame into `_waiting` and goes on with its own work: a
   small message does not wait for a lock that a flood takes again and again. Whoever has the lock
   writes what waits ("flat combining": Hendler and others, 2010).
4. If 64 frames wait already, it takes the lock itself, waiting for it, and writes all of them: no
   thread has to write for all others for ever, and `_waiting` stays short.
5. It looks at `_waiting` once more. A frame can be put there after the lock's owner has looked last
   and before it has given the lock up; then the thread that left it finds the lock free, here.

Why each rule is there:
- One lock and one `writev` for a frame, on a blocking descriptor: frames of several threads never
  mix, and the kernel lets a thread wait when the Pipe is full.
- The frame is built before the lock is taken. An asynchronous exception, which interrupts user
  code, can come between any two bytecodes: with two writes, it could come between a header and its
  body.
- Such an exception must not leave the lock locked. Since Python 3.14 one can come after a `with`
  has called `__enter__` and before its block begins, and then nothing calls `__exit__`. So the lock
  is not taken by a `with`: one call of a function in C takes it and notes that it is taken, and a
  `finally` reads the note (`_write_locked`).
- An exception could also come after a thread has taken frames off `_waiting` and before it has
  written them; they would be lost. So a kernel that lets its user's code be interrupted sends
  inside a shield, which holds exceptions back until the step is done: see `interrupts.sending`.
- A garbage collection can run a `__del__` on the very thread that has the lock, and the `__del__`
  may write. It must not wait for the lock, which would be for ever: it finds the lock taken and
  leaves its frame (`is_inside` makes rule 4 leave it, too). `post` only ever leaves.
- User code may call `print` so deep in a recursion that Python has no room for the calls that a
  write makes. The RecursionError belongs to that code, but the frames that wait may be those of
  other sessions: they go back to `_waiting`.
- `settle` promises that what was written before is on the Pipe, for a command that may end the
  process. It puts a locked lock among the waiting frames, as a mark. Whoever has written what is
  before the mark opens it, even if that write failed. A thread that floods may get `_lock` again
  and again, so waiting for `_lock` itself could take long; the mark's turn comes with the queue.
  `settle` looks again each second, for an exception can have stopped the thread that took the
  mark.
- A fork by user code copies a lock that a thread may hold which the child does not have. The child
  must never write to the server: see `forget`.
- A small frame is sent without giving up the interpreter's lock, see `unyielding`: the thread need
  not wait for threads that compute before it goes on. One that floods gives the lock up with each
  frame after the first few, so that others' turn comes.
- The kernel makes a thread wait only while the Pipe is full. How much a session whose client does
  not read may send is bounded before that, in `windows`.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import TypeAlias

from mpkernel.host.unyielding import send_now
from mpkernel.own_clock import monotonic
from mpkernel.wire.frames import HEADER_BYTES, Channel, encode_header
from mpkernel.wire.messages import UpMessage, encode

__all__ = ["StreamWriter"]

_Frame: TypeAlias = tuple[bytes, bytes]
# A frame has two parts. Linux takes 1,024 parts in one call.
_FRAMES_PER_WRITE = 256
# With more frames than these waiting, a thread waits for the lock: the thread that has it must not
# write for others for ever.
_FRAMES_LEFT = 64
_LOOK_AGAIN_S = 1.0
_SMALL_BYTES = 4096
# Writes that follow one another within this time are a flood, from this number on.
_FLOOD_S = 0.0001
_FLOOD_WRITES = 16


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
        self._written_at = 0.0
        self._quick_writes = 0  # how many came within `_FLOOD_S` of the one before
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
        """Write one whole frame, after all frames that this thread wrote or posted before; or leave
        it to the thread that is writing.

        Raises:
            ProtocolError: the frame is over the maximum size. Nothing was written.
            OSError: the server is gone.
        """
        header = encode_header(
            channel, session, len(payload), max_frame_bytes=self._max_frame_bytes
        )
        if not (self._lock.locked() or self._waiting):
            self._write_locked((header, payload))
        elif len(self._waiting) < _FRAMES_LEFT or self.is_inside:
            self._waiting.append((header, payload))
        else:
            self._write_locked((header, payload))
        if self._waiting:
            self.flush()

    def flush(self) -> None:
        """Write the frames that wait, or leave them to the thread that is writing.

        Raises:
            OSError: the server is gone.
        """
        # The queue is looked at again after the lock is given up: other threads may have left
        # frames meanwhile.
        while self._waiting and not self._lock.locked():
            self._write_locked()

    def settle(self) -> None:
        """Wait until all that was written, posted or left until now is on the Pipe: the server
        learns of it even if the process ends next.

        Raises:
            OSError: the server is gone.
        """
        if not self._is_busy():
            return
        # This puts a mark among the frames, since a thread that floods may take the lock again and
        # again. The thread that has written all frames before the mark opens it.
        mark = threading.Lock()
        mark.acquire()
        self._waiting.append(mark)
        self.flush()
        while not mark.acquire(timeout=_LOOK_AGAIN_S):
            self.flush()
            if not self._is_busy():  # an exception has stopped the thread that took the mark
                return

    @property
    def is_inside(self) -> bool:
        """Whether the calling thread is in the middle of a write. In a `__del__`, it may be."""
        return self._lock.locked() and self._owner == get_ident()

    def close(self) -> None:
        """Write nothing any more: the host is about to end."""
        self.forgotten = True

    def forget(self) -> None:
        """Make this a writer to nowhere: for a forked child, whose copy of the lock may be held by
        a thread that it does not have."""
        self.forgotten = True
        self._lock = threading.Lock()
        self._waiting.clear()

    def _is_busy(self) -> bool:
        return bool(self._waiting) or self._lock.locked()

    def _write_locked(self, frame: _Frame | None = None) -> None:
        """Write the frames that wait, and this one behind them, with the lock."""
        lock = self._lock
        taken: list[bool] = []
        try:
            # One call in C: an exception comes before the lock is taken, or after that is noted.
            taken.extend(map(lock.acquire, (True,)))
            self._owner = get_ident()
            if frame is not None and not self._waiting:
                self._write(frame, len(frame[0]) + len(frame[1]))
            else:
                if frame is not None:
                    self._waiting.append(frame)
                self._write_waiting()
        finally:
            if taken:
                lock.release()

    def _write_waiting(self) -> None:
        while self._waiting:
            frames, mark = self._taken()
            try:
                if frames:
                    self._write([part for frame in frames for part in frame], _size_of(frames))
            except RecursionError:  # the calling code is nested too deeply: nothing was written
                if mark is not None:
                    self._waiting.appendleft(mark)
                    mark = None
                self._waiting.extendleft(reversed(frames))
                raise
            finally:
                if mark is not None:
                    mark.release()

    def _taken(self) -> tuple[list[_Frame], threading.Lock | None]:
        """The frames that wait, at most as many as one `writev` takes, and the mark behind them."""
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
        if size <= _SMALL_BYTES and not self._is_flooded():
            data = b"".join(parts)
            sent = send_now(self._fd, data)
            if sent == size:
                return
            if sent > 0:
                size -= sent
                parts = [memoryview(data)[sent:]]
        # A blocking writev writes everything unless a signal handler ran meanwhile.
        try:
            while (written := os.writev(self._fd, parts)) < size:
                size -= written
                parts = [memoryview(b"".join(parts))[written:]]
        except OSError:
            if self._on_lost is not None:
                self._on_lost()
            raise

    def _is_flooded(self) -> bool:
        now = monotonic()
        if now - self._written_at > _FLOOD_S:
            self._quick_writes = 0
        self._written_at = now
        self._quick_writes += 1
        return self._quick_writes > _FLOOD_WRITES


def _size_of(frames: list[_Frame]) -> int:
    return sum(HEADER_BYTES + len(payload) for _, payload in frames)
