"""`Outflow`: what a page has not taken yet counts against its session's window.

    kernel ─▶ MarimoSession ─▶ marimo's queue ─▶ its thread ─▶ the page's own queue ─▶ WebSocket
                  ▲                 └── no bound on the way ──────────┘ │
                  └────── credit, when a message has left ◀── Outflow ◀─┘ how many wait

marimo takes every message at once. So credit goes back when fewer wait than are on their way:
messages keep their order, and what has left are the oldest. A page that does not read holds its
kernel back, at the window's edge; a session without a page holds nothing back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["Outflow"]

_LOOK_AGAIN_S = 0.005
_LONGEST_WAIT_S = 0.1


class Outflow:
    """The messages of one session that are on their way. On the loop's thread.

    Args:
        loop: the running loop.
        waiting: how many messages the slowest of the session's pages has not taken.
        taken: told how many bytes have left.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        waiting: Callable[[], int],
        taken: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._waiting = waiting
        self._taken = taken
        self._sizes: deque[int] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._wait_s = _LOOK_AGAIN_S

    @property
    def bytes_on_the_way(self) -> int:
        """Of all messages that have not left."""
        return sum(self._sizes)

    def sent(self, count: int) -> None:
        """A message of so many bytes is on its way."""
        self._sizes.append(count)
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK_AGAIN_S, self._look)

    def forget(self) -> None:
        """Nobody wants to know any more what becomes of these."""
        self._sizes.clear()

    def _look(self) -> None:
        self._timer = None
        waiting = self._waiting()
        left_bytes = 0
        while len(self._sizes) > waiting:
            left_bytes += self._sizes.popleft()
        if left_bytes:
            self._taken(left_bytes)
        # A page that takes nothing is looked at less and less often: a hundred of them cost little.
        self._wait_s = _LOOK_AGAIN_S if left_bytes else min(2 * self._wait_s, _LONGEST_WAIT_S)
        if self._sizes:
            self._timer = self._loop.call_later(self._wait_s, self._look)
