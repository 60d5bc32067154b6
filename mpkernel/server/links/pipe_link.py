"""`PipeLink`: the server's ends of a host's two Pipes. Sends from any thread, reads on the loop.

Nothing here blocks. A send writes what the Pipe takes at once and keeps the rest in a bounded
`backlog` that the loop flushes. A wake-up reads once, or some of a large frame, and hands over as
many frames as the loop's turn has time for (`aio.turns`). The Pipe is not watched until the rest
has been handed over, a few milliseconds later, so a process that floods it is held back. So no host
starves the others, be it with large frames or with many small ones.

The descriptors are read with `readv` into the frame decoder's own buffer, never through
`Connection.recv*`: uvloop sets O_NONBLOCK on what it watches, and `recv_bytes` then loses what it
had read of half a frame. And uvloop tells of a peer that hung up only once, however much is left to
read: what a dead host wrote last is read by `drain`, not by waiting for the loop.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import logging
import os
import sys
import termios
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from mpkernel.aio.loops import running_loop
from mpkernel.aio.turns import turn_of
from mpkernel.errors import HostUnresponsive, ProtocolError
from mpkernel.server.links.backlog import Backlog
from mpkernel.server.links.link import LinkEvents
from mpkernel.wire.frames import Channel, FrameDecoder, FrameLost, encode_header

__all__ = ["PipeLink"]

logger = logging.getLogger(__name__)

_LARGE_FRAME_BYTES_PER_WAKE_UP = 1024 * 1024
_FRAMES_AT_ONCE = 128
"""After so many frames, the time that is left in the loop's turn is looked at."""


class PipeLink:
    """A host's control Pipe (both ways) and stream Pipe (up only).

    Args:
        name: the app's name, for messages.
        control, stream: the server's ends. They stay their owner's to close, after `close`: the
            numbers of closed descriptors are given to others, and must not be used any more.
        loop: the loop on whose thread frames are handed over.
        events: whom it tells; of a hang-up when the host has closed one of the Pipes.
        backlog_bytes: how much that the Pipe does not take is kept.
        max_frame_bytes: the largest frame, both ways.

    Raises:
        OSError: the loop cannot watch the Pipes; it watches neither then.
    """

    def __init__(
        self,
        name: str,
        control: Connection,
        stream: Connection,
        loop: asyncio.AbstractEventLoop,
        events: LinkEvents,
        *,
        backlog_bytes: int,
        max_frame_bytes: int,
    ) -> None:
        self._name = name
        self._loop = loop
        self._on_frames = events.on_frames
        self._on_error = events.on_error
        self._on_lost = events.on_lost if events.on_lost is not None else self._fail
        self._on_hang_up = events.on_hang_up
        self._turn = turn_of(loop)
        self._left_bytes: dict[int, int] | None = None  # by descriptor, what a dead host left
        self._received_bytes = 0
        self._max_frame_bytes = max_frame_bytes
        self._control_fd = control.fileno()
        self._readers = {
            control.fileno(): FrameDecoder(max_frame_bytes=max_frame_bytes),
            stream.fileno(): FrameDecoder(max_frame_bytes=max_frame_bytes),
        }
        self._lock = threading.Lock()  # guards all below
        self._backlog = Backlog(backlog_bytes)
        self._flushing = False
        self._closed = False
        self._sent_count = 0
        try:
            for fd in self._readers:
                os.set_blocking(fd, False)
                loop.add_reader(fd, self._on_readable, fd)
        except BaseException:
            self.close()
            raise

    @property
    def backlog_bytes(self) -> int:
        """Bytes that the Pipe has not taken yet."""
        return self._backlog.byte_count

    @property
    def sent_count(self) -> int:
        """How many frames were sent, or wait for the Pipe."""
        return self._sent_count

    @property
    def whole_bytes(self) -> int:
        """Bytes of all frames that came whole."""
        count = self._received_bytes
        for decoder in self._readers.values():
            count -= decoder.pending_bytes
        return count

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
                return  # the host's death is told to its sessions, not to each who sends
            waiting_bytes = self._backlog.byte_count
            may_refuse = refusable and channel is not Channel.MANAGEMENT
            if waiting_bytes and may_refuse and not self._backlog.has_room(size):
                raise HostUnresponsive(
                    f"the process of {self._name} takes no input:"
                    f" {waiting_bytes} bytes wait for it",
                    remedy="wait until it answers again, or end it",
                )
            self._sent_count += 1
            if waiting_bytes:
                self._backlog.keep(header, payload)
                return
            written = self._write([header, payload])
            if written == size:
                return
            self._backlog.keep(header, payload, written=written)
            if self._flushing:
                return
            self._flushing = True
        self._on_loop(self._start_flushing)

    def drain(self) -> bool:
        """Read what a dead host left in the Pipes, to the last byte that it wrote, and no further:
        a process that it started may have its ends, and write for ever.

        Returns:
            Whether all is read. False: the loop's turn has no more time for it; call it again in a
            later one. Each call reads some of it, also where others use up every turn.
        """
        if self._left_bytes is None:
            self._left_bytes = {fd: _waiting_in(fd) for fd in self._readers}
        for fd, decoder in list(self._readers.items()):
            while self._left_bytes[fd] > 0 or decoder.has_frames_left:
                before = self._received_bytes
                if not self._read(fd):
                    break
                self._left_bytes[fd] -= self._received_bytes - before
                if self._turn.is_over:
                    return False
        return True

    def close(self) -> None:
        """Send nothing any more, drop the backlog and stop watching the descriptors. On the loop's
        thread. Idempotent."""
        self.close_sending()
        for fd in list(self._readers):
            self._stop_reading(fd)
        if self._flushing:
            self._stop_flushing()

    def close_sending(self) -> None:
        """Send nothing any more and drop the backlog. From any thread: when it returns, no other
        thread is writing. Idempotent."""
        with self._lock:
            self._closed = True
            self._backlog.clear()

    def _write(self, parts: Sequence[bytes | memoryview]) -> int:
        """How much of it the Pipe took: as good as all, where the host is gone."""
        try:
            return os.writev(self._control_fd, parts)
        except BlockingIOError:
            return 0
        except ConnectionError:
            # The host is gone; its pidfd says so to those whom it concerns.
            return sum(len(part) for part in parts)

    def _on_loop(self, call: Callable[[], None]) -> None:
        if running_loop() is self._loop:
            call()
        else:
            self._loop.call_soon_threadsafe(call)

    def _start_flushing(self) -> None:
        if not self._closed:
            self._loop.add_writer(self._control_fd, self._flush)

    def _flush(self) -> None:
        with self._lock:
            if self._closed:
                self._stop_flushing()
                return
            self._backlog.written(self._write(self._backlog.first()))
            if not self._backlog.byte_count:
                self._stop_flushing()

    def _stop_flushing(self) -> None:
        self._flushing = False
        self._loop.remove_writer(self._control_fd)

    def _on_readable(self, fd: int) -> None:
        if not self._turn.is_over:
            self._read(fd)
            decoder = self._readers.get(fd)
            if decoder is None or not decoder.has_frames_left:
                return
        self._loop.remove_reader(fd)
        self._turn.later(functools.partial(self._read_on, fd))

    def _read_on(self, fd: int) -> None:
        """A later turn has time: hand over what was read, and watch again at the end."""
        decoder = self._readers.get(fd)
        if decoder is None:
            return
        self._read(fd)
        if fd not in self._readers:
            return
        if decoder.has_frames_left:
            self._turn.later(functools.partial(self._read_on, fd))
        else:
            self._loop.add_reader(fd, self._on_readable, fd)

    def _read(self, fd: int) -> bool:
        """Hand over whole frames, of what was read before, or else of what is read now, as long as
        the loop's turn has time. False: there is nothing more for now."""
        decoder = self._readers.get(fd)
        if decoder is None:
            return False
        allowed_bytes = _LARGE_FRAME_BYTES_PER_WAKE_UP
        while True:
            count = 0
            if not decoder.has_frames_left:
                try:
                    count = os.readv(fd, (decoder.get_buffer(),))
                except BlockingIOError:
                    return False
                except ConnectionError:
                    count = 0
                if count == 0:
                    self._stop_reading(fd)
                    self._on_hang_up()
                    return False
                self._received_bytes += count
            if not self._hand_over(fd, decoder, count):
                return False
            allowed_bytes -= count
            if allowed_bytes <= 0 or not decoder.is_inside_large_frame:
                return True

    def _hand_over(self, fd: int, decoder: FrameDecoder, count: int) -> bool:
        """So many bytes more were read. False: the descriptor is not read any more."""
        try:
            self._on_frames(decoder.received(count, most_frames=_FRAMES_AT_ONCE))
            while decoder.has_frames_left and fd in self._readers and self._turn.has_time_left():
                self._on_frames(decoder.received(0, most_frames=_FRAMES_AT_ONCE))
        except FrameLost as lost:
            self._on_lost(lost)
        except ProtocolError as error:
            self._fail(error)
        except MemoryError:
            self._fail(ProtocolError(f"there is no memory for what {self._name} sends"))
        except Exception as error:
            # What came with it is lost, so nothing that the host says makes sense any more.
            logger.exception("the server failed on what %s sends", self._name)
            self._fail(ProtocolError(f"the server failed on what it sent: {error!r}"))
        return fd in self._readers  # closed by what a frame said: it may be another's by now

    def _fail(self, error: ProtocolError) -> None:
        for fd in list(self._readers):
            self._stop_reading(fd)
        self._on_error(error)

    def _stop_reading(self, fd: int) -> None:
        if self._readers.pop(fd, None) is not None:
            self._loop.remove_reader(fd)


def _waiting_in(fd: int) -> int:
    """How many bytes can be read."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
