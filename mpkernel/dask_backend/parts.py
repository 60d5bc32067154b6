"""Parts: how several streams of bytes share one connection, without any I/O.

A part is a head and its bytes. The head is 5 bytes, big-endian: its kind (1 byte), and a number (4
bytes).

    kind          number                       what follows
    lane          how many bytes               these bytes of the lane
    lane | END    0                            nothing: the lane has come to its end
    lane | PAID   how many bytes were taken    nothing: so many more may be sent on the lane

No part has more than 64 KiB, so a small message never waits for a whole large one. Each lane but
`NEWS` has a window, which both ends know: a sender has no more bytes on the way than that, until it
is told that some were taken. So no end keeps more than the windows, and a lane whose receiver is
slow holds up no other.

The design is that of streams in HTTP/2 (RFC 9113, sections 5.2 and 6.9).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple

from mpkernel.errors import ProtocolError

__all__ = ["MAX_PART_BYTES", "WINDOWS", "Lane", "Part", "PartDecoder", "PartKind", "encode_head"]

MAX_PART_BYTES = 64 * 1024
"""The most bytes of a part."""

_HEAD = struct.Struct("!BI")
_END = 0x40
_PAID = 0x80
_LANES = 0x3F


class Lane(enum.IntEnum):
    """One of the streams of a connection."""

    NEWS = 0
    """Messages between the server's end and the outpost, both ways; see `messages`."""
    STDOUT = 1
    """What the host writes to its descriptor 1, up."""
    STDERR = 2
    """What the host writes to its descriptor 2, up."""
    FAULTS = 3
    """What faulthandler writes, up."""
    FILES = 4
    """The bytes of virtual files, up, as they were asked for."""
    FOLDER = 5
    """The archive of the app's folder, down, if it was asked for."""


WINDOWS = {
    Lane.STDOUT: 256 * 1024,
    Lane.STDERR: 256 * 1024,
    Lane.FAULTS: 256 * 1024,
}
"""The window of each lane in bytes. There is none for messages, which are small and few, and for
files and folders, of which there comes only what was asked for."""


class PartKind(enum.Enum):
    """What a part is."""

    DATA = enum.auto()
    END = enum.auto()
    PAID = enum.auto()


class Part(NamedTuple):
    """One part.

    Attributes:
        lane: its lane.
        kind: what it is.
        data: the bytes of `DATA`, to be used before the decoder is given more; else empty.
        paid: how many bytes `PAID` is about; else 0.
    """

    lane: Lane
    kind: PartKind
    data: memoryview
    paid: int


def encode_head(lane: Lane, kind: PartKind, number: int) -> bytes:
    """The head of a part.

    Args:
        lane, kind: the part's.
        number: how many bytes follow, or were taken.
    """
    flag = {PartKind.DATA: 0, PartKind.END: _END, PartKind.PAID: _PAID}[kind]
    return _HEAD.pack(lane | flag, number)


class PartDecoder:
    """Takes bytes of a connection, and gives the parts in them.

    The caller reads into `buffer`, and tells `received` how many bytes came.
    """

    def __init__(self) -> None:
        self._bytes = memoryview(bytearray(4 * (MAX_PART_BYTES + _HEAD.size)))
        self._end = 0

    @property
    def buffer(self) -> memoryview:
        """Where the next bytes belong. There is room for one at least."""
        return self._bytes[self._end :]

    def received(self, count: int) -> Iterator[Part]:
        """The parts that are whole after `count` more bytes. To be used up before the next call.

        Raises:
            ProtocolError: this is not a part.
        """
        self._end += count
        at = 0
        try:
            while self._end - at >= _HEAD.size:
                first, number = _HEAD.unpack_from(self._bytes, at)
                lane, kind = _lane_and_kind(first)
                size = number if kind is PartKind.DATA else 0
                if size > MAX_PART_BYTES:
                    raise ProtocolError(f"a part has {size} bytes, {MAX_PART_BYTES} are allowed")
                start = at + _HEAD.size
                if self._end - start < size:
                    return
                at = start + size
                paid = number if kind is PartKind.PAID else 0
                yield Part(lane, kind, self._bytes[start:at], paid)
        finally:
            left = self._end - at
            if at and left:
                self._bytes[:left] = bytes(self._bytes[at : self._end])
            self._end = left


def _lane_and_kind(first: int) -> tuple[Lane, PartKind]:
    try:
        lane = Lane(first & _LANES)
    except ValueError:
        raise ProtocolError(f"there is no lane {first & _LANES}") from None
    match first & ~_LANES:
        case 0:
            return lane, PartKind.DATA
        case 0x40:
            return lane, PartKind.END
        case 0x80:
            return lane, PartKind.PAID
    raise ProtocolError(f"there is no kind of part {first:#x}")
