"""Frames: bytes ⇄ (channel, session, payload), without any I/O.

A frame is a length prefix as `multiprocessing.connection.Connection` writes it (4 bytes, signed,
big-endian), then the body: channel (1 byte), session number (4 bytes, unsigned, big-endian) and
payload. Session 0 is the host itself.

This file says all that there is to say about the head of a frame. What a payload means is said
elsewhere: by `messages` for the management channel, by the kernel and its client for all others.

The design follows h11 (a protocol that owns no socket) and asyncio's `BufferedProtocol` (the
protocol owns the buffer, the transport reads into it).
"""

from __future__ import annotations

import ctypes
import enum
import io
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from mpkernel.errors import ProtocolError

__all__ = [
    "HEADER_BYTES",
    "MAX_FRAME_BYTES",
    "MESSAGE_COST_BYTES",
    "Channel",
    "Frame",
    "FrameDecoder",
    "FrameLost",
    "Message",
    "cost_of",
    "encode_header",
]

_HEADER = struct.Struct("!iBI")
_unpack_header = _HEADER.unpack_from
_BODY_HEAD_BYTES = 5

HEADER_BYTES = _HEADER.size
"""Bytes before a frame's payload: 4 of length, 1 of channel, 4 of session number."""

MAX_FRAME_BYTES = 256 * 1024 * 1024
"""The largest body (channel, session number and payload) that is sent or accepted by default."""

MESSAGE_COST_BYTES = 64
"""What a message on its way up counts against its window, beside the bytes of its payload. It is
about the memory that it takes to keep one message. So a window bounds memory, however small the
messages are."""

MAX_SESSION = 0xFFFF_FFFF

_BUFFER_BYTES = 128 * 1024
_LARGE_BYTES = 32 * 1024
_AHEAD_BYTES = 4 * 1024

# This makes a `bytes` object with arbitrary content, for its only owner to write to. `bytes(count)`
# would fill it with zeros, which takes as long as to read the payload. It is a function object of
# our own: user code may change what `ctypes.pythonapi` gives to all.
_new_bytes: Callable[[None, int], bytes] = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t
)(("PyBytes_FromStringAndSize", ctypes.pythonapi))


class Channel(enum.IntEnum):
    """What a message of a session is for. Messages of one session keep their order, whatever their
    channels.

    The embedded kernel and marimo's know them by these meanings. For a kernel of your own they are
    only names that the receiver sees.
    """

    MANAGEMENT = 0
    """Between the server and the process itself: a kernel starts, has ended, is paid credit. Not
    for users."""
    CONTROL = 1
    """To the kernel: commands, such as run, execute and interrupt."""
    UI_ELEMENT = 2
    """To the kernel: new values of elements of the page."""
    COMPLETION = 3
    """To the kernel: requests for completions of a name. They are answered while a command
    runs."""
    INPUT = 4
    """To the kernel: the line that `input()` waits for."""
    STREAM = 5
    """From the kernel to its client: all messages of the kernel."""


_CHANNELS = tuple(Channel)
_CHANNELS_END = len(_CHANNELS)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame: its channel, the session's number (0: the host itself) and the payload."""

    channel: Channel
    session: int
    payload: bytes


def cost_of(frames: Iterable[Frame]) -> int:
    """What these messages count against a window."""
    return sum(len(frame.payload) + MESSAGE_COST_BYTES for frame in frames)


class Message(NamedTuple):
    """What passes between a kernel and its client.

    Attributes:
        channel: what it is for, as its sender chose.
        payload: the sender's bytes; at most `Settings.max_frame_bytes` of them, less 5.
    """

    channel: Channel
    payload: bytes


class FrameLost(ProtocolError):
    """There was not enough memory for a frame, and the decoder skipped it. The decoder can be used
    further.

    Attributes:
        channel, session: the frame's.
        payload_bytes: its payload's size.
    """

    def __init__(self, channel: Channel, session: int, payload_bytes: int) -> None:
        super().__init__(
            f"a message of {payload_bytes} bytes does not fit into memory",
            remedy="send less at once, or lower max_frame_bytes",
        )
        self.channel = channel
        self.session = session
        self.payload_bytes = payload_bytes


def encode_header(
    channel: int, session: int, payload_bytes: int, *, max_frame_bytes: int = MAX_FRAME_BYTES
) -> bytes:
    """The 9 bytes that stand before a payload of `payload_bytes` bytes.

    The payload is not part of the result: the caller writes header and payload with one `writev`,
    which needs no copy of the payload.

    Raises:
        ProtocolError: the frame would exceed `max_frame_bytes`, or the session number 32 bits.
    """
    body_bytes = payload_bytes + _BODY_HEAD_BYTES
    if body_bytes > max_frame_bytes:
        raise ProtocolError(
            f"a message of {payload_bytes} bytes is over the limit of {max_frame_bytes}"
            f" session={session}",
            remedy="send it in parts, or raise max_frame_bytes",
        )
    if not 0 <= session <= MAX_SESSION:
        raise ProtocolError(f"session number {session} does not fit into 32 bits")
    return _HEADER.pack(body_bytes, channel, session)


class FrameDecoder:
    """Takes bytes in any chunks, gives whole frames.

    There are two ways to give it bytes. `feed(data)` copies them. A reader that wants no copy asks
    for `get_buffers()`, reads into these buffers (`os.readv`), and tells with `received(n)` how
    many bytes it read.

    Small frames are read into one buffer, many at a time, and copied out of it. Of a large frame,
    only what came together with other frames is copied. The rest is read into memory of its own,
    which then is the payload: it is allocated when the frame's length is known. The same read may
    take the beginning of the next frame, so that the next length is known without a read for it.

    Args:
        max_frame_bytes: the largest body that is accepted; may be set later. Default 256 MiB.
        buffer_bytes: the buffer's size. Default 128 KiB: it stays in a core's own cache.

    Attributes:
        has_frames_left: whether `received(0)` must be called for what the last `received` did not
            give: frames beyond `most_frames`, or the error of a wrong frame behind good ones.
    """

    def __init__(
        self, *, max_frame_bytes: int = MAX_FRAME_BYTES, buffer_bytes: int = _BUFFER_BYTES
    ) -> None:
        self.max_frame_bytes = max_frame_bytes
        self._view = memoryview(bytearray(max(buffer_bytes, HEADER_BYTES)))
        self._start = 0
        self._end = 0
        self._large: _LargeFrame | None = None
        self.has_frames_left = False

    @property
    def pending_bytes(self) -> int:
        """Bytes received of a frame that is not whole yet."""
        if self._large is not None:
            return self._large.received_bytes
        return self._end - self._start

    @property
    def is_inside_large_frame(self) -> bool:
        """Whether the next bytes belong to a frame that is read into memory of its own."""
        return self._large is not None

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Take `data`, give the frames that it completes, in order.

        Raises:
            ProtocolError: as `received`.
        """
        source = memoryview(data).cast("B")
        frames: list[Frame] = []
        taken = 0
        while taken < len(source):
            target = self.get_buffer()
            count = min(len(target), len(source) - taken)
            target[:count] = source[taken : taken + count]
            taken += count
            frames += self.received(count)
        return frames

    def get_buffer(self) -> memoryview:
        """Where to put the next bytes: at least one byte of room, valid until `received`."""
        return self._large.rest if self._large is not None else self._view[self._end :]

    def get_buffers(self) -> tuple[memoryview, ...]:
        """The same for a read that fills several buffers, one after the other."""
        large = self._large
        if large is None or large.is_lost:  # then the rest is read into the decoder's own buffer
            return (self.get_buffer(),)
        return (large.rest, self._view[:_AHEAD_BYTES])

    def received(self, count: int, *, most_frames: int | None = None) -> list[Frame]:
        """Say that `count` bytes now stand in the buffer; give the frames that they complete.

        Args:
            count: how many bytes; 0 to ask for the frames that an earlier call left.
            most_frames: how many to give at most. If there are more, `has_frames_left` says so.
                Default: all of them.

        Raises:
            FrameLost: there was no memory for a frame. What follows it can be received.
            ProtocolError: what was received is not a frame. The decoder must not be used any more.
        """
        frames: list[Frame] = []
        if self._large is not None:
            count = self._large.take(count)
            if self._large.rest:
                return frames
            large, self._large = self._large, None
            frames.append(large.frame())
        self._end += count
        view, end, start = self._view, self._end, self._start
        self.has_frames_left = False
        while end - start >= HEADER_BYTES:
            if len(frames) == most_frames:
                self.has_frames_left = True
                break
            body_bytes, channel, session = _unpack_header(view, start)
            if (
                not _BODY_HEAD_BYTES <= body_bytes <= self.max_frame_bytes
                or channel >= _CHANNELS_END
            ):
                if frames:
                    self.has_frames_left = True
                    break  # the frames before it are good; the next call raises the error
                raise ProtocolError(self._fault_of(body_bytes, channel))
            payload_start = start + HEADER_BYTES
            frame_end = payload_start - _BODY_HEAD_BYTES + body_bytes
            if frame_end > end:
                if frame_end - start > min(_LARGE_BYTES, len(view)):
                    payload_bytes = body_bytes - _BODY_HEAD_BYTES
                    self._large = _LargeFrame(
                        _CHANNELS[channel], session, payload_bytes, view, view[payload_start:end]
                    )
                    start = end
                break
            frames.append(
                Frame(_CHANNELS[channel], session, view[payload_start:frame_end].tobytes())
            )
            start = frame_end
        self._start = start
        if not self.has_frames_left:
            self._make_room()
        return frames

    def finish(self) -> None:
        """Say that no more bytes will come.

        Raises:
            ProtocolError: the last frame is cut off.
        """
        if self._large is not None or self.pending_bytes:
            raise ProtocolError(f"the stream ended {self.pending_bytes} bytes into a frame")

    def _fault_of(self, body_bytes: int, channel: int) -> str:
        if not _BODY_HEAD_BYTES <= body_bytes <= self.max_frame_bytes:
            return (
                f"a frame claims {body_bytes} bytes;"
                f" it must have {_BODY_HEAD_BYTES} to {self.max_frame_bytes}"
            )
        return f"a frame names channel {channel}, which does not exist"

    def _make_room(self) -> None:
        """Move the pending bytes to the buffer's front, unless half of the buffer is free
        anyway."""
        pending = self._end - self._start
        if pending == 0:
            self._start = self._end = 0
        elif self._start and self._end > len(self._view) // 2:
            self._view[:pending] = self._view[self._start : self._end]
            self._start, self._end = 0, pending


class _Payload(io.BytesIO):
    """A `BytesIO` that nothing closes when it is freed. Closing one whose memory is still viewed is
    an error, which Python prints since 3.14: the view of half a frame is freed together with it."""

    def __del__(self) -> None:
        pass


class _LargeFrame:
    """A frame whose payload is received into the `bytes` object that the frame will carry.

    A `BytesIO` makes that possible without a copy: it takes over the memory of a `bytes` object,
    can be written to, and gives the same object back at the end. That object is given to nobody
    before all of it is received. Where there is no memory for the payload, its bytes are read into
    the decoder's own buffer, each part over the one before, and are lost.
    """

    def __init__(
        self,
        channel: Channel,
        session: int,
        payload_bytes: int,
        buffer: memoryview,
        begun: memoryview,
    ) -> None:
        self._channel = channel
        self._session = session
        self._payload_bytes = payload_bytes
        self._payload: _Payload | None = None
        self._view = buffer
        self.received_bytes = len(begun)
        try:
            self._payload = _Payload(_new_bytes(None, payload_bytes))
        except MemoryError:
            return  # `frame` says so
        self._view = self._payload.getbuffer()
        self._view[: len(begun)] = begun

    @property
    def rest(self) -> memoryview:
        """Where to put the bytes that are missing, or the next part of them."""
        if self._payload is None:
            return self._view[: self._payload_bytes - self.received_bytes]
        return self._view[self.received_bytes :]

    @property
    def is_lost(self) -> bool:
        """Whether there was no memory for it."""
        return self._payload is None

    def take(self, count: int) -> int:
        """Of `count` bytes that were read, take those that belong to the frame. Returns how many
        follow them."""
        taken = min(count, self._payload_bytes - self.received_bytes)
        self.received_bytes += taken
        return count - taken

    def frame(self) -> Frame:
        """The frame. To be called when no byte of it is missing.

        Raises:
            FrameLost: there was no memory for it.
        """
        if self._payload is None:
            raise FrameLost(self._channel, self._session, self._payload_bytes)
        self._view.release()
        return Frame(self._channel, self._session, self._payload.getvalue())
