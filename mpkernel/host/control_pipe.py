"""`ControlPipe`: reads what the server sends, on the main thread, or on a kernel's own thread.

    control Pipe ══▶ main thread ──▶ a kernel's queue ──▶ kernel thread      usually
    control Pipe ═══════════════════════════════════════▶ kernel thread      one kernel is in use

To wake a kernel's thread takes longer than all else that a host does for a small message. So when
one kernel has got the last few messages, and waits for the next one, its thread reads the Pipe
itself, and no other thread has to run ("leader and followers": Schmidt and others, 2000). The
rules:

- One thread reads at a time, the one that has `_lock`. It keeps the lock until it has handed over
  what it has read: so messages keep their order. No thread waits for this lock: the main thread
  looks again, and a kernel waits at its queue.
- While a kernel's thread reads, the main thread does not wait for the Pipe. As soon as something
  was read, it does again: so it takes in an interrupt that comes while the kernel computes. To
  change that (`epoll.modify`) wakes no thread.
- A kernel's thread takes nothing but a single message of its own session. All else that it reads,
  and each error, it leaves to the main thread, and wakes it. Until the main thread has handed that
  over, no kernel's thread reads.
- It must get several messages in a row before its thread reads: where several sessions are in use,
  it would mostly read the messages of others.
- An exception that interrupts user code must not meet a thread that reads. So no kernel reads whose
  thread is interrupted that way: see `HostedKernel.receive`.
- A fork by user code shares the `epoll` object with the host, and must not change it: see `forget`.
- Only Linux has `epoll`. On other systems the main thread does all the reading.
"""

from __future__ import annotations

import ctypes
import os
import queue
import select
import threading
from collections.abc import Callable

from mpkernel.host.unyielding import receive_now
from mpkernel.wire.frames import Channel, Frame, FrameDecoder, Message

__all__ = ["ControlPipe"]

_MANAGEMENT = Channel.MANAGEMENT  # looking up the attribute would cost more than the comparison
_IN_A_ROW = 8
"""After so many messages in a row for one kernel, that kernel's thread reads."""
_RECEIVED_BYTES = 16 * 1024


class ControlPipe:
    """The host's end of the control Pipe, for reading.

    Args:
        fd: the descriptor, which blocks.
        server_fd: a pidfd of the server; None where there is none.

    Attributes:
        decoder: makes frames of what is read.
    """

    def __init__(self, fd: int, server_fd: int | None) -> None:
        self.decoder = FrameDecoder()
        self._fd = fd
        self._server_fd = server_fd
        self._lock = threading.Lock()  # guards all below, and the decoder
        self._received = ctypes.create_string_buffer(_RECEIVED_BYTES)
        self._reads = 0
        self._reads_before_wait = 0  # when the main thread last began to wait
        self._number = 0  # the session that got the last message
        self._in_a_row = 0
        self._left: list[Frame] = []
        self._fault: Exception | None = None
        self._epoll: select.epoll | None = None
        self._wake_fd: int | None = None
        fds = [fd] if server_fd is None else [fd, server_fd]
        if hasattr(select, "epoll"):
            self._wake_fd = os.eventfd(0)
            self._epoll = select.epoll()
            for one in (*fds, self._wake_fd):
                self._epoll.register(one, select.EPOLLIN)
        else:
            self._poll = select.poll()
            for one in fds:
                self._poll.register(one, select.POLLIN)

    def wait(self, timeout_s: float | None) -> bool:
        """Wait on the main thread until there may be something to read. Returns whether there may.

        Raises:
            ConnectionError: the server has ended.
        """
        self._reads_before_wait = self._reads
        if self._epoll is not None:
            events = self._epoll.poll(timeout_s)
        else:
            events = self._poll.poll(None if timeout_s is None else timeout_s * 1000)
        for fd, _ in events:
            if fd == self._server_fd:
                raise ConnectionError("the server has ended")
        return bool(events)

    def read(self, dispatch: Callable[[Frame], None]) -> None:
        """Read on the main thread, after `wait`, and hand over each frame.

        Raises:
            FrameLost: there was no memory for a frame. What follows it can be read.
            ProtocolError: what the server sent is no frame.
            ConnectionError: the server is gone.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._left or self._fault is not None:
                frames = self._take_left()
            elif self._reads == self._reads_before_wait:
                frames = self._read_now()
            else:
                return  # a kernel's thread has read it: this thread would have to wait for more
            self._count(frames)
            for frame in frames:
                dispatch(frame)
        finally:
            self._lock.release()

    def receive(self, number: int, inbox: queue.SimpleQueue[Message | None]) -> Message | None:
        """Called by a kernel's thread that is about to wait at its empty `inbox`: wait for its next
        message at the Pipe, if this session is the one in use. Returns None if the message is to be
        awaited at `inbox`.

        Args:
            number: the session's.
            inbox: where the main thread puts the session's messages.
        """
        if (
            number != self._number
            or self._in_a_row < _IN_A_ROW
            or self._epoll is None
            or not self._lock.acquire(blocking=False)
        ):
            return None
        try:
            if self._left or self._fault is not None or not inbox.empty():
                return None
            frames = self._read_for_kernel(self._epoll)
            if len(frames) == 1:
                frame = frames[0]
                if frame.session == number and frame.channel is not _MANAGEMENT:
                    return Message(frame.channel, frame.payload)
            self._leave(frames)
            return None
        finally:
            self._lock.release()

    def forget(self) -> None:
        """For a forked child: read nothing any more, and leave the host's `epoll` as it is."""
        self._lock = threading.Lock()
        self._lock.acquire()
        for fd in (self._fd, self._server_fd, self._wake_fd):
            if fd is not None:
                os.close(fd)
        if self._epoll is not None:
            self._epoll.close()

    def _read_now(self) -> list[Frame]:
        """Read what `wait` has found, and hand it over. No other thread may get the interpreter's
        lock in between, because the main thread would have to wait to get it back."""
        if not self.decoder.is_inside_large_frame:
            count = receive_now(self._fd, self._received)
            if count > 0:
                self._reads += 1
                return self.decoder.feed(memoryview(self._received)[:count])
        return self._read()

    def _read(self) -> list[Frame]:
        count = os.readv(self._fd, self.decoder.get_buffers())
        self._reads += 1
        if count == 0:
            raise ConnectionError("end of file on the control Pipe")
        return self.decoder.received(count)

    def _read_for_kernel(self, epoll: select.epoll) -> list[Frame]:
        """Wait on a kernel's thread for the next frames. Meanwhile the main thread does not wait
        for the Pipe."""
        epoll.modify(self._fd, 0)
        try:
            while not (frames := self._read()):
                continue
            return frames
        except Exception as error:  # noqa: BLE001 (the main thread raises it)
            self._fault = error
            return []
        finally:
            epoll.modify(self._fd, select.EPOLLIN)

    def _leave(self, frames: list[Frame]) -> None:
        self._left = frames
        self._in_a_row = 0
        assert self._wake_fd is not None
        os.eventfd_write(self._wake_fd, 1)

    def _take_left(self) -> list[Frame]:
        assert self._wake_fd is not None
        os.eventfd_read(self._wake_fd)
        frames, self._left = self._left, []
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        return frames

    def _count(self, frames: list[Frame]) -> None:
        """Count how many messages one session has got in a row."""
        if len(frames) != 1 or frames[0].channel is _MANAGEMENT:
            self._in_a_row = 0
        elif frames[0].session != self._number:
            self._number, self._in_a_row = frames[0].session, 1
        else:
            self._in_a_row += 1
