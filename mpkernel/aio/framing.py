"""Bytes to frames, as `multiprocessing.connection.Connection` writes them. No I/O in here.

A frame is a length prefix and that many bytes. The prefix has 4 bytes, big-endian and signed. If it
is -1, the length did not fit, and follows in 8 bytes, big-endian and unsigned. The bytes of a frame
are not looked at here.
"""

from __future__ import annotations

import struct

from mpkernel.errors import ProtocolError

__all__ = ["DEFAULT_MAX_FRAME_BYTES", "FrameError", "FrameParser"]

DEFAULT_MAX_FRAME_BYTES = 256 * 1024 * 1024

_SHORT_LENGTH = struct.Struct("!i")
_LONG_LENGTH = struct.Struct("!Q")
_LONG_LENGTH_FOLLOWS = -1


class FrameError(ProtocolError):
    """A length prefix that no frame can have: the stream is unusable from here on."""


class FrameParser:
    """Takes bytes in any chunks and gives whole frames.

    Args:
        max_frame_bytes: if the prefix announces a longer frame, that is an error, and no byte of
            the frame is kept.
    """

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._position = 0
        self._length: int | None = None

    @property
    def unfinished(self) -> bool:
        """Whether the bytes so far end inside a frame, once `next_frame` has given None."""
        return self._length is not None or self._position < len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        del self._buffer[: self._position]
        self._position = 0
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """Return the next whole frame, without its prefix, or None until more bytes are fed.

        Raises:
            FrameError: the prefix is negative and not -1, or above ``max_frame_bytes``; raised
                again at every further call.
        """
        if self._length is None:
            self._length = self._take_length()
        if self._length is None or not self._has(self._length):
            return None
        end = self._position + self._length
        with memoryview(self._buffer) as view:
            frame = bytes(view[self._position : end])
        self._position = end
        self._length = None
        return frame

    def _take_length(self) -> int | None:
        if not self._has(_SHORT_LENGTH.size):
            return None
        (length,) = _SHORT_LENGTH.unpack_from(self._buffer, self._position)
        prefix_bytes = _SHORT_LENGTH.size
        if length == _LONG_LENGTH_FOLLOWS:
            prefix_bytes += _LONG_LENGTH.size
            if not self._has(prefix_bytes):
                return None
            (length,) = _LONG_LENGTH.unpack_from(self._buffer, self._position + _SHORT_LENGTH.size)
        if length < 0:
            raise FrameError(
                f"length prefix {length} is negative; the peer does not write Connection frames,"
                " or something else writes into its Pipe"
            )
        if length > self._max_frame_bytes:
            raise FrameError(
                f"frame of {length} bytes is above the limit of {self._max_frame_bytes} bytes;"
                " raise max_frame_bytes if the peer is right"
            )
        self._position += prefix_bytes
        return int(length)

    def _has(self, count: int) -> bool:
        return len(self._buffer) - self._position >= count
