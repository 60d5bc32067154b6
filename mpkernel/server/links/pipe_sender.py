"""`PipeSender`: sends frames to a host, from any thread. Nothing here blocks.

    send ─▶ the Pipe takes it ──────────────────▶ done
       ├──▶ it has no room: kept in the backlog ─▶ written when the loop sees that there is room
       └──▶ more is about to be sent, by those who were woken together, or to many sessions: kept,
            and written with that

What is sent is in the order of the calls: while something is kept, whatever follows is kept too.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence

from mpkernel.aio.loops import running_loop
from mpkernel.errors import HostUnresponsive
from mpkernel.server.links.backlog import Backlog
from mpkernel.wire.frames import Channel, encode_header

__all__ = ["PipeSender"]

_HELD_BYTES = 1024
"""So much waits for those that run next, at the most. Then it is written at once."""


class PipeSender:
    """The server's end of a host's control Pipe, for sending.

    Args:
        name: the app's name, for messages.
        fd: the descriptor. It does not block.
        loop: the loop that watches the Pipe while it has no room.
        backlog_bytes: how many bytes are kept that the Pipe does not take.
        max_frame_bytes: the largest frame.

    Attributes:
        sent_count: how many frames were sent, or wait for the Pipe.
    """

    def __init__(
        self,
        name: str,
        fd: int,
        loop: asyncio.AbstractEventLoop,
        *,
        backlog_bytes: int,
        max_frame_bytes: int,
    ) -> None:
        self.sent_count = 0
        self._name = name
        self._fd = fd
        self._loop = loop
        self._max_frame_bytes = max_frame_bytes
        self._lock = threading.Lock()  # guards all below, and the count
        self._backlog = Backlog(backlog_bytes)
        self._holding = False  # whether what is sent waits for the end of the loop's pass
        self._flushing = False  # whether the Pipe had no room
        self._closed = False

    @property
    def backlog_bytes(self) -> int:
        """Bytes that the Pipe has not taken yet."""
        return self._backlog.byte_count

    def send(
        self, channel: Channel, session: int, payload: bytes, *, refusable: bool = True
    ) -> None:
        """Send one frame, from any thread, in the order of the calls. Never waits.

        Args:
            channel, session, payload: the frame.
            refusable: whether a full backlog may refuse it. Management messages never are.

        Raises:
            HostUnresponsive: the backlog is full; nothing of the frame was sent.
            ProtocolError: the frame is over the maximum size.
        """
        header = encode_header(
            channel, session, len(payload), max_frame_bytes=self._max_frame_bytes
        )
        size = len(header) + len(payload)
        with self._lock:
            if self._closed:
                return  # its sessions are told of the host's death, not each thread that sends
            may_refuse = refusable and channel is not Channel.MANAGEMENT
            if self._flushing and may_refuse and not self._backlog.has_room(size):
                raise HostUnresponsive(
                    f"the process of {self._name} takes no input:"
                    f" {self._backlog.byte_count} bytes wait for it",
                    remedy="wait until it answers again, or end it",
                )
            self.sent_count += 1
            if self._flushing or self._holding:
                self._backlog.keep(header, payload)
                if self._flushing or self._backlog.byte_count < _HELD_BYTES:
                    return
                self._write_backlog()
            else:
                written = self._write([header, payload])
                if written == size:
                    return
                self._backlog.keep(header, payload, written=written)
            if not self._backlog.byte_count:
                return
            self._flushing = True
        self._on_loop(self._start_flushing)

    def hold(self) -> None:
        """Keep what is sent until the loop's present turn is over, and all those have run who were
        woken in it. On the loop's thread."""
        if not self._holding:
            self._holding = True
            self._loop.call_soon(self._end_hold)

    def close_sending(self) -> None:
        """Send nothing any more and drop the backlog. From any thread: when it returns, no other
        thread is writing. Idempotent."""
        with self._lock:
            if self._holding and not (self._flushing or self._closed):
                self._write_backlog()
            self._closed = True
            self._backlog.clear()

    def close(self) -> None:
        """Stop watching the descriptor, after `close_sending`. On the loop's thread. Idempotent."""
        self.close_sending()
        if self._flushing:
            self._stop_flushing()

    def _write(self, parts: Sequence[bytes | memoryview]) -> int:
        """Returns how many bytes the Pipe took. If the host is gone, all bytes count as taken."""
        try:
            return os.writev(self._fd, parts)
        except BlockingIOError:
            return 0
        except ConnectionError:
            # The host is gone. Those who watch its process learn of that in another way.
            return sum(len(part) for part in parts)

    def _write_backlog(self) -> None:
        """Write what the Pipe takes of the backlog. With the lock."""
        if self._backlog.byte_count:
            self._backlog.written(self._write(self._backlog.first()))

    def _end_hold(self) -> None:
        with self._lock:
            self._holding = False
            if self._flushing or self._closed:
                return
            self._write_backlog()
            if not self._backlog.byte_count:
                return
            self._flushing = True
        self._start_flushing()

    def _on_loop(self, call: Callable[[], None]) -> None:
        if running_loop() is self._loop:
            call()
        else:
            self._loop.call_soon_threadsafe(call)

    def _start_flushing(self) -> None:
        if not self._closed:
            self._loop.add_writer(self._fd, self._flush)

    def _flush(self) -> None:
        with self._lock:
            if self._closed:
                self._stop_flushing()
                return
            self._write_backlog()
            if not self._backlog.byte_count:
                self._stop_flushing()

    def _stop_flushing(self) -> None:
        self._flushing = False
        self._loop.remove_writer(self._fd)
