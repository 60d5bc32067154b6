"""`Outbox`: sends a session's messages to its kernel, and keeps those that wait for room.

send ─▶ the window has room ──▶ sent at once; outstanding until the kernel has taken it
     └▶ it has no room ───────▶ waits here, in order; sent when the kernel has taken others
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from mpkernel.wire.frames import Channel, Message
from mpkernel.wire.windows import has_room

__all__ = ["Outbox", "Sink"]


class Sink(Protocol):
    """Where a session's messages are sent: its host."""

    @property
    def backlog_bytes(self) -> int:
        """How many bytes wait in the server because the process does not take them."""

    def send(
        self, channel: Channel, session: int, payload: bytes, *, refusable: bool = True
    ) -> None:
        """Send bytes to the session of this number; see `Link.send`."""


class Outbox:
    """The outbox of one session. Its owner guards it with a lock.

    Args:
        window_bytes: how many bytes may be on their way.
        most_waiting_bytes: how many bytes may wait beyond that.
        on_settled: called with the number of bytes that are not on their way any more.

    Attributes:
        outstanding_bytes: the bytes that were sent and that the kernel has not yet taken.
        waiting_bytes: the bytes that wait for room.
    """

    def __init__(
        self, window_bytes: int, most_waiting_bytes: int, on_settled: Callable[[int], None]
    ) -> None:
        self._window_bytes = window_bytes
        self._most_waiting_bytes = most_waiting_bytes
        self._on_settled = on_settled
        self._waiting: deque[Message] = deque()
        self.outstanding_bytes = 0
        self.waiting_bytes = 0

    def must_wait(self, count: int) -> bool:
        """Whether a payload of `count` bytes cannot be sent at once."""
        return bool(self._waiting) or not self._has_room(count)

    def is_clogged(self, count: int, host: Sink | None) -> bool:
        """Whether `count` more bytes must be refused, because too much waits. Two amounts count:
        the bytes that wait here for room in the window, and the bytes that had room but still wait
        for the Pipe."""
        if self._waiting and self.waiting_bytes + count > self._most_waiting_bytes:
            return True
        return host is not None and host.backlog_bytes > self._most_waiting_bytes

    def send(
        self,
        host: Sink,
        number: int,
        channel: Channel,
        payload: bytes,
        *,
        refusable: bool = True,
    ) -> None:
        """Send to the session of this number, even if the window has no room.

        Raises:
            HostUnresponsive, ProtocolError: as `Link.send`; nothing was sent then.
        """
        host.send(channel, number, payload, refusable=refusable)
        self.outstanding_bytes += len(payload)

    def keep(self, message: Message) -> None:
        """Keep this message until the window has room for it."""
        self._waiting.append(message)
        self.waiting_bytes += len(message.payload)

    def credited(self, count: int, host: Sink | None, number: int) -> None:
        """The kernel took `count` bytes: send the messages that have room now."""
        self._settle(min(count, self.outstanding_bytes))
        while host is not None and self._waiting and self._has_room(len(self._waiting[0].payload)):
            channel, payload = self._waiting.popleft()
            self.waiting_bytes -= len(payload)
            self.send(host, number, channel, payload, refusable=False)

    def clear(self) -> None:
        """The process, or the session, has ended: nothing waits, and nothing is on its way."""
        self._waiting.clear()
        self.waiting_bytes = 0
        self._settle(self.outstanding_bytes)

    def _settle(self, count: int) -> None:
        self.outstanding_bytes -= count
        self._on_settled(count)

    def _has_room(self, count: int) -> bool:
        return has_room(count, self.outstanding_bytes, self._window_bytes)
