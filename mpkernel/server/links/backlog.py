"""`Backlog`: keeps what was sent to a Pipe and has no room in it yet. It does no I/O."""

from __future__ import annotations

from collections import deque
from itertools import islice

__all__ = ["Backlog"]

_MOST_PARTS = 64
"""How many parts are written with one call: far fewer than any system allows."""


class Backlog:
    """Parts of frames, in the order in which they were sent. Its owner guards it with a lock.

    Args:
        limit_bytes: how many bytes may be kept, according to `has_room`. `keep` itself does not
            check it.

    Attributes:
        byte_count: how many bytes are kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._parts: deque[bytes | memoryview] = deque()
        self.byte_count = 0

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes are within the limit."""
        return self.byte_count + size <= self._limit_bytes

    def keep(self, header: bytes, payload: bytes, *, written: int = 0) -> None:
        """Keep a frame, without its first `written` bytes, which the Pipe has taken already.

        The frame is not copied: a payload may have hundreds of megabytes.
        """
        parts: tuple[bytes | memoryview, ...] = (header, payload)
        if written:
            of_payload = max(0, written - len(header))
            parts = (memoryview(header)[written:], memoryview(payload)[of_payload:])
        for part in parts:
            if part:
                self._parts.append(part)
                self.byte_count += len(part)

    def first(self) -> list[bytes | memoryview]:
        """The parts that are to be written next."""
        return list(islice(self._parts, _MOST_PARTS))

    def written(self, count: int) -> None:
        """The Pipe has taken the first `count` bytes."""
        self.byte_count -= count
        while count:
            part = self._parts[0]
            if count < len(part):
                self._parts[0] = memoryview(part)[count:]  # not copied
                return
            count -= len(part)
            self._parts.popleft()

    def clear(self) -> None:
        """Drop all of it."""
        self._parts.clear()
        self.byte_count = 0
