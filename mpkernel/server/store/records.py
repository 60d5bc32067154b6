"""The format of the file of one session.

    head      16 bytes that name the format, then its version, 2 bytes
    record    the length of the payload, 4 bytes; a checksum, 4 bytes; the payload, msgpack

    About     the first record: which session it is
    Whole     a content, as `Journal.kept` gave it
    Change    a content, as what is different from the one before

The last content counts. A record's checksum includes the checksum of the record before it, so the
records of a file cannot be left out, repeated or exchanged. Reading ends at the first record that
is not complete or not valid: a server that was killed while it wrote leaves a part of a record.
"""

from __future__ import annotations

import struct
import zlib

import msgspec

from mpkernel.wire.messages import UNDECODABLE

__all__ = ["About", "Records", "UnknownVersion", "content_of"]

_NAME = b"mpkernel-session"
_VERSION = struct.pack("<H", 1)
_HEAD = _NAME + _VERSION
_LENGTH = struct.Struct("<I")
_RECORD = struct.Struct("<II")


class UnknownVersion(Exception):
    """The file is of a version of the format that this version of mpkernel does not know."""


class About(msgspec.Struct, frozen=True, tag="about", array_like=True):
    """Which session it is.

    Attributes:
        key: the session's key; see `session_store.key_of`.
        app: absolute path of the app's file.
        began_at: when its session began to be stored; seconds as `time.time`.
    """

    key: str
    app: str
    began_at: float


class _Whole(msgspec.Struct, frozen=True, tag="whole", array_like=True):
    content: bytes


class _Change(msgspec.Struct, frozen=True, tag="change", array_like=True):
    """The first `start` bytes of the content before, `middle`, and its last `end` bytes."""

    start: int
    end: int
    middle: bytes


_decoder = msgspec.msgpack.Decoder(About | _Whole | _Change)
_encode = msgspec.msgpack.Encoder().encode


class Records:
    """Makes the records of one file, in their order."""

    def __init__(self) -> None:
        self._content = b""
        self._checksum = 0

    @property
    def content(self) -> bytes:
        """The last content that a record was made of."""
        return self._content

    def beginning(self, about: About, content: bytes) -> bytes:
        """A whole file, to which changes can be appended."""
        self._checksum = zlib.crc32(_HEAD)
        self._content = content
        return _HEAD + self._record(about) + self._record(_Whole(content))

    def change(self, content: bytes) -> bytes:
        """The record to append for a new content."""
        before = self._content
        start = _equal_at_start(before, content)
        end = _equal_at_end(before[start:], content[start:])
        self._content = content
        return self._record(_Change(start, end, content[start : len(content) - end]))

    def _record(self, payload: About | _Whole | _Change) -> bytes:
        encoded = _encode(payload)
        self._checksum = _checksum(encoded, self._checksum)
        return _RECORD.pack(len(encoded), self._checksum) + encoded


def content_of(file: bytes) -> tuple[About, bytes] | None:
    """Which session a file is of, and its last content; None where there is none that is valid.

    Raises:
        UnknownVersion: the file's head names another version.
    """
    if not file.startswith(_HEAD):
        if file.startswith(_NAME) and len(file) >= len(_HEAD):
            raise UnknownVersion
        return None
    about: About | None = None
    content: bytes | None = None
    for payload in _payloads(memoryview(file)):
        match payload:
            case About() if about is None:
                about = payload
            case _Whole():
                content = payload.content
            case _Change(start, end, middle) if content is not None:
                if start < 0 or end < 0 or start + end > len(content):
                    break
                content = content[:start] + middle + content[len(content) - end :]
            case _:
                break
    return None if about is None or content is None else (about, content)


def _payloads(file: memoryview) -> list[About | _Whole | _Change]:
    found: list[About | _Whole | _Change] = []
    checksum = zlib.crc32(_HEAD)
    position = len(_HEAD)
    while position + _RECORD.size <= len(file):
        length, expected = _RECORD.unpack_from(file, position)
        position += _RECORD.size
        payload = file[position : position + length]
        position += length
        checksum = _checksum(payload, checksum)
        if len(payload) < length or checksum != expected:
            break
        try:
            found.append(_decoder.decode(payload))
        except UNDECODABLE:
            break
    return found


def _checksum(payload: bytes | memoryview, before: int) -> int:
    return zlib.crc32(payload, zlib.crc32(_LENGTH.pack(len(payload)), before))


def _equal_at_start(one: bytes, other: bytes) -> int:
    """How many bytes at the start of both are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _equal_at_end(one: bytes, other: bytes) -> int:
    """How many bytes at the end of both are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    return low
