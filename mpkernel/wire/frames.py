"""Frames: bytes ⇄ (channel, session, payload), without any I/O.

A frame is a length prefix as `multiprocessing.connection.Connection` writes it (4 bytes, signed,
big-endian), then the body: channel (1 byte), session number (4 bytes, unsigned, big-endian) and
payload. Session 0 is the host itself.

Everything about what may stand in a frame's head lives here; what a payload means does not
(`messages` for the management channel, the kernel and its client for all others).

The design follows h11 (a protocol that owns no socket) and asyncio's `BufferedProtocol` (the
protocol owns the buffer, the transport reads into it).
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from mpkernel.errors import ProtocolError

__all__ = [
    "HEADER_BYTES",
    "MAX_FRAME_BYTES",
    "Channel",
    "Frame",
    "FrameDecoder",
    "Message",
    "encode_header",
]

_HEADER = struct.Struct("!iBI")
_BODY_HEAD_BYTES = 5

HEADER_BYTES = _HEADER.size
"""Bytes before a frame's payload: 4 of length, 1 of channel, 4 of session number."""

MAX_FRAME_BYTES = 256 * 1024 * 1024
"""The largest body (channel, session number and payload) that is sent or accepted by default."""

MAX_SESSION = 0xFFFF_FFFF

_BUFFER_BYTES = 256 * 1024
_QUIET_READS_BEFORE_SHRINK = 64


class Channel(enum.IntEnum):
    """Which of a session's queues a frame belongs to."""

    MANAGEMENT = 0
    CONTROL = 1
    UI_ELEMENT = 2
    COMPLETION = 3
    INPUT = 4
    STREAM = 5


_CHANNELS = tuple(Channel)


class Frame(NamedTuple):
    """One frame: its channel, the session's number (0: the host itself) and the payload."""

    channel: Channel
    session: int
    payload: bytes


class Message(NamedTuple):
    """What passes between a kernel and its client: the channel that the sender chose, and bytes."""

    channel: Channel
    payload: bytes


def encode_header(
    channel: int, session: int, payload_bytes: int, *, max_frame_bytes: int = MAX_FRAME_BYTES
) -> bytes:
    """The 9 bytes that stand before a payload of `payload_bytes` bytes.

    The payload is left out on purpose: header and payload leave in one `writev`, uncopied.

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

    Two ways to feed it. `feed(data)` copies the bytes in. A reader that wants no copy asks for
    `get_buffer()`, reads into it and says how much with `received(n)`.

    The buffer grows to a large frame's size while that arrives (never ahead of what was received
    by more than four times, so a false length costs nothing), stays for the next such frame,
    because a warm buffer is several times faster than a fresh one, and shrinks after a while
    without one.

    Args:
        max_frame_bytes: the largest body that is accepted; may be set later. Default 256 MiB.
        buffer_bytes: the buffer's size at rest. Default 256 KiB.
    """

    def __init__(
        self, *, max_frame_bytes: int = MAX_FRAME_BYTES, buffer_bytes: int = _BUFFER_BYTES
    ) -> None:
        self.max_frame_bytes = max_frame_bytes
        self._rest_bytes = max(buffer_bytes, HEADER_BYTES)
        self._buffer = bytearray(self._rest_bytes)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._quiet_reads = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes received of a frame that is not whole yet."""
        return self._end - self._start

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Take `data`, give the frames that it completes, in order.

        Raises:
            ProtocolError: what was received is no frame. The decoder is of no use from then on.
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
        return self._view[self._end :]

    def received(self, count: int) -> list[Frame]:
        """Say that `count` bytes now stand in the buffer; give the frames that they complete.

        Raises:
            ProtocolError: what was received is no frame. The decoder is of no use from then on.
        """
        self._end += count
        view, end, start = self._view, self._end, self._start
        frames: list[Frame] = []
        needed = HEADER_BYTES
        while end - start >= HEADER_BYTES:
            body_bytes, channel, session = _HEADER.unpack_from(view, start)
            fault = self._fault_of(body_bytes, channel)
            if fault is not None:
                if frames:
                    break  # those before it are good; the next call says what is wrong
                raise ProtocolError(fault)
            needed = HEADER_BYTES - _BODY_HEAD_BYTES + body_bytes
            if end - start < needed:
                break
            payload = bytes(view[start + HEADER_BYTES : start + needed])
            frames.append(Frame(_CHANNELS[channel], session, payload))
            start += needed
            needed = HEADER_BYTES
        self._start = start
        self._make_room(needed)
        return frames

    def _fault_of(self, body_bytes: int, channel: int) -> str | None:
        if not _BODY_HEAD_BYTES <= body_bytes <= self.max_frame_bytes:
            return (
                f"a frame claims {body_bytes} bytes;"
                f" {_BODY_HEAD_BYTES} to {self.max_frame_bytes} are possible"
            )
        if channel >= len(_CHANNELS):
            return f"a frame names channel {channel}, which there is not"
        return None

    def finish(self) -> None:
        """Say that no more bytes will come.

        Raises:
            ProtocolError: the last frame is cut off.
        """
        if self.pending_bytes:
            raise ProtocolError(f"the stream ended {self.pending_bytes} bytes into a frame")

    def _make_room(self, needed: int) -> None:
        """Leave room behind `_end`, for a frame of `needed` bytes that begins at `_start`."""
        pending = self._end - self._start
        capacity = len(self._buffer)
        if needed > self._rest_bytes:
            self._quiet_reads = 0
        elif capacity > self._rest_bytes:
            self._quiet_reads += 1
            if self._quiet_reads >= _QUIET_READS_BEFORE_SHRINK and pending < self._rest_bytes:
                self._move_to(bytearray(self._rest_bytes))
                return
        if pending == 0:
            self._start = self._end = 0
        elif pending == capacity:
            self._move_to(bytearray(min(needed, 4 * capacity)))
        elif self._start and self._start + needed > capacity:
            self._move_to(self._buffer)

    def _move_to(self, buffer: bytearray) -> None:
        """Move the pending bytes to the front of `buffer`, which may be the present one."""
        pending = self._end - self._start
        target = memoryview(buffer)
        target[:pending] = self._view[self._start : self._end]
        self._buffer, self._view = buffer, target
        self._start, self._end = 0, pending
        self._quiet_reads = 0
