"""`PipeLink`: the server's ends of a host's two Pipes. Sends from any thread, reads on the loop.

Nothing here blocks. How frames are sent is the matter of `pipe_sender`. When a Pipe can be read, it
is read once, or as far as one part of a large frame, and as many frames are handed over as the
loop's turn has time for (`aio.turns`). The Pipe is not watched until the rest has been handed over,
a few milliseconds later, so a process that floods it has to wait. So no host takes the time of the
others, neither with large frames nor with many small ones. A flood of small messages is let collect
for up to a millisecond before it is read (`collecting`).

The descriptors are read with `readv` into the frame decoder's own buffer, never through
`Connection.recv*`: uvloop sets O_NONBLOCK on what it watches, and `recv_bytes` then loses what it
had read of half a frame. And uvloop tells of a peer that hung up only once, however much is left to
read: what a dead host wrote last is read by `drain`, not by waiting for the loop.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from multiprocessing.connection import Connection

from mpkernel.aio.short_timer import ShortTimer
from mpkernel.aio.turns import turn_of
from mpkernel.errors import ProtocolError
from mpkernel.server.links.collecting import Collecting
from mpkernel.server.links.link import LinkEvents
from mpkernel.server.links.pipe_sender import PipeSender
from mpkernel.server.links.sockets import waiting_in
from mpkernel.wire.frames import Channel, FrameDecoder, FrameLost

__all__ = ["PipeLink"]

logger = logging.getLogger(__name__)

_LARGE_FRAME_BYTES_PER_WAKE_UP = 256 * 1024
_FRAMES_AT_ONCE = 128
"""After so many frames, it is checked whether the loop's turn has time left."""


class PipeLink:
    """A host's control Pipe (both ways) and stream Pipe (up only).

    Args:
        name: the app's name, for messages.
        control, stream: the server's ends. Their owner closes them, and only after `close`: the
            system gives the number of a closed descriptor to another file.
        loop: the loop on whose thread frames are handed over.
        events: what it calls; `on_hang_up` when the host has closed one of the Pipes.
        backlog_bytes: how many bytes are kept that the Pipe does not take.
        max_frame_bytes: the largest frame, both ways.

    Raises:
        OSError: the loop cannot watch the Pipes. It watches neither of them then.
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
        self._received_frames = 0
        self._stream_fd = stream.fileno()
        self._collecting = Collecting()
        self._timer: ShortTimer | None = None  # made for the first pause
        self._has_timers = True
        self._watched: set[int] = set()
        self._sender = PipeSender(
            name,
            control.fileno(),
            loop,
            backlog_bytes=backlog_bytes,
            max_frame_bytes=max_frame_bytes,
        )
        self._readers = {
            control.fileno(): FrameDecoder(max_frame_bytes=max_frame_bytes),
            stream.fileno(): FrameDecoder(max_frame_bytes=max_frame_bytes),
        }
        try:
            for fd in self._readers:
                os.set_blocking(fd, False)
                self._watch(fd)
        except BaseException:
            self.close()
            raise

    @property
    def backlog_bytes(self) -> int:
        """Bytes that the Pipe has not taken yet."""
        return self._sender.backlog_bytes

    @property
    def sent_count(self) -> int:
        """How many frames were sent, or wait for the Pipe."""
        return self._sender.sent_count

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
        """See `PipeSender.send`."""
        self._sender.send(channel, session, payload, refusable=refusable)

    def hold(self) -> None:
        """See `PipeSender.hold`."""
        self._sender.hold()

    def close_sending(self) -> None:
        """See `PipeSender.close_sending`."""
        self._sender.close_sending()

    def drain(self) -> bool:
        """Read what a dead host left in the Pipes, up to the last byte that it wrote, and no more:
        a process that it started may have its ends, and write for ever.

        Returns:
            Whether all is read. False: the loop's turn has no more time for it; call this again in
            a later turn. Each call reads some of it, even if others use up every turn.
        """
        if self._left_bytes is None:
            self._left_bytes = {fd: waiting_in(fd) for fd in self._readers}
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
        self._sender.close()
        for fd in list(self._readers):
            self._stop_reading(fd)
        if self._timer is not None:
            self._timer.close()

    def _on_readable(self, fd: int) -> None:
        if self._turn.is_over:
            self._unwatch(fd)
            self._turn.later(functools.partial(self._read_on, fd))
        else:
            self._read_on(fd)

    def _read_on(self, fd: int) -> None:
        """Hand over what was read, and read. Then hand over the rest in a later turn that has time,
        let more collect, or watch the descriptor."""
        read_at = time.monotonic()
        self._read(fd)
        decoder = self._readers.get(fd)
        if decoder is None:
            return
        if decoder.has_frames_left:
            self._unwatch(fd)
            self._turn.later(functools.partial(self._read_on, fd))
        elif fd != self._stream_fd or not self._lets_collect(read_at):
            self._watch(fd)

    def _lets_collect(self, read_at: float) -> bool:
        """Whether the stream Pipe is read next when a pause is over, and not before."""
        pause_s = self._collecting.pause_s(
            read_at, self._received_frames, self._received_bytes, self._sender.sent_count
        )
        left_s = read_at + pause_s - time.monotonic()  # to hand messages over has taken time
        if left_s <= 0 or not self._has_timers:
            return False
        try:
            if self._timer is None:
                self._timer = ShortTimer(self._loop, self._on_collected)
            self._timer.start(left_s)
        except OSError as error:
            logger.debug("messages of %s are read as they come: %s", self._name, error)
            self._has_timers = False
            return False
        self._unwatch(self._stream_fd)
        return True

    def _on_collected(self) -> None:
        if self._stream_fd in self._readers:
            self._on_readable(self._stream_fd)

    def _watch(self, fd: int) -> None:
        if fd not in self._watched:
            self._loop.add_reader(fd, self._on_readable, fd)
            self._watched.add(fd)

    def _unwatch(self, fd: int) -> None:
        if fd in self._watched:
            self._watched.remove(fd)
            self._loop.remove_reader(fd)

    def _read(self, fd: int) -> bool:
        """Hand over whole frames, as long as the loop's turn has time: first those that were read
        before, then those that are read now. Returns False when there is nothing more for now."""
        decoder = self._readers.get(fd)
        if decoder is None:
            return False
        allowed_bytes = _LARGE_FRAME_BYTES_PER_WAKE_UP
        while True:
            count = 0
            if not decoder.has_frames_left:
                try:
                    count = os.readv(fd, decoder.get_buffers())
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
        """Hand over frames after `count` more bytes were read. Returns False when the descriptor is
        not read any more."""
        try:
            frames = decoder.received(count, most_frames=_FRAMES_AT_ONCE)
            self._received_frames += len(frames)
            self._on_frames(frames)
            if len(frames) > 1:
                self._sender.hold()
            while decoder.has_frames_left and fd in self._readers and self._turn.has_time_left():
                frames = decoder.received(0, most_frames=_FRAMES_AT_ONCE)
                self._received_frames += len(frames)
                self._on_frames(frames)
        except FrameLost as lost:
            self._on_lost(lost)
        except ProtocolError as error:
            self._fail(error)
        except MemoryError:
            self._fail(ProtocolError(f"there is no memory for what {self._name} sends"))
        except Exception as error:
            # The frames that came with it are lost, so what follows cannot be understood.
            logger.exception("the server failed on what %s sends", self._name)
            self._fail(ProtocolError(f"the server failed on what it sent: {error!r}"))
        return fd in self._readers  # a frame may have caused `close`

    def _fail(self, error: ProtocolError) -> None:
        for fd in list(self._readers):
            self._stop_reading(fd)
        self._on_error(error)

    def _stop_reading(self, fd: int) -> None:
        if self._readers.pop(fd, None) is not None:
            self._unwatch(fd)
