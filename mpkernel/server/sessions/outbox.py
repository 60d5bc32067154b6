"""`Outbox`: what a session sends to its kernel: what is on its way, and what waits for room.

send ─▶ the window has room ──▶ goes at once; outstanding until the kernel has taken it
     └▶ it has none ──────────▶ waits here, in order, and goes as the kernel takes
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from mpkernel.wire.frames import Channel, Message
from mpkernel.wire.windows import has_room

__all__ = ["Outbox", "Sink"]


class Sink(Protocol):
    """Where what a session sends goes: its host."""

    @property
    def backlog_bytes(self) -> int:
        """What waits in the server because the process does not take it."""

    def send(
        self, channel: Channel, session: int, payload: bytes, *, refusable: bool = True
    ) -> None:
        """Send bytes to the session of this number; see `Link.send`."""


class Outbox:
    """One session's. Its owner guards it with a lock.

    Args:
        window_bytes: how much may be on its way.
        most_waiting_bytes: how much may wait beyond that.
        on_settled: called with how many bytes are on their way no more.

    Attributes:
        outstanding_bytes: sent, and not yet taken by the kernel.
        waiting_bytes: what waits.
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
        """Whether a payload of so many bytes cannot go at once."""
        return bool(self._waiting) or not self._has_room(count)

    def is_clogged(self, count: int, host: Sink | None) -> bool:
        """Whether too much waits for so many bytes more to wait: here or, where the kernel says
        that it took it, for the Pipe."""
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
        """Send to the session of this number, whatever the window has.

        Raises:
            HostUnresponsive, ProtocolError: as `Link.send`; nothing was sent then.
        """
        host.send(channel, number, payload, refusable=refusable)
        self.outstanding_bytes += len(payload)

    def keep(self, message: Message) -> None:
        """Have this wait until there is room."""
        self._waiting.append(message)
        self.waiting_bytes += len(message.payload)

    def credited(self, count: int, host: Sink | None, number: int) -> None:
        """The kernel took so many bytes: send what has room now."""
        self._settle(min(count, self.outstanding_bytes))
        while host is not None and self._waiting and self._has_room(len(self._waiting[0].payload)):
            channel, payload = self._waiting.popleft()
            self.waiting_bytes -= len(payload)
            self.send(host, number, channel, payload, refusable=False)

    def clear(self) -> None:
        """The process, or the session, is gone: nothing waits and nothing is on its way."""
        self._waiting.clear()
        self.waiting_bytes = 0
        self._settle(self.outstanding_bytes)

    def _settle(self, count: int) -> None:
        self.outstanding_bytes -= count
        self._on_settled(count)

    def _has_room(self, count: int) -> bool:
        return has_room(count, self.outstanding_bytes, self._window_bytes)
