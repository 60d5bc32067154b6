"""`Backlog`: what was sent to a Pipe, and the Pipe has not taken yet. It does no I/O."""

from __future__ import annotations

from collections import deque
from itertools import islice

__all__ = ["Backlog"]

_MOST_PARTS = 64
"""So many parts are written with one call: far fewer than any system allows."""


class Backlog:
    """Parts of frames, in the order in which they were sent. Its owner guards it with a lock.

    Args:
        limit_bytes: more than that is kept only where its owner does not ask `has_room`.

    Attributes:
        byte_count: how much is kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._parts: deque[memoryview] = deque()
        self.byte_count = 0

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more stay within the limit."""
        return self.byte_count + size <= self._limit_bytes

    def keep(self, header: bytes, payload: bytes, *, written: int = 0) -> None:
        """Keep a frame, but for the bytes of it that the Pipe has taken already.

        It is not copied: a payload may be hundreds of megabytes.
        """
        of_payload = max(0, written - len(header))
        for part in (memoryview(header)[written:], memoryview(payload)[of_payload:]):
            if part:
                self._parts.append(part)
                self.byte_count += len(part)

    def first(self) -> list[memoryview]:
        """The parts that are to be written next."""
        return list(islice(self._parts, _MOST_PARTS))

    def written(self, count: int) -> None:
        """The Pipe has taken so many bytes of what came first."""
        self.byte_count -= count
        while count:
            part = self._parts[0]
            if count < len(part):
                self._parts[0] = part[count:]
                return
            count -= len(part)
            self._parts.popleft()

    def clear(self) -> None:
        """Drop all of it."""
        self._parts.clear()
        self.byte_count = 0
