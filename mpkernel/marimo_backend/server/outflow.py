"""`Outflow`: what a page has not taken yet counts against its session's window.

    kernel ─▶ MarimoSession ─▶ marimo's queue ─▶ its thread ─▶ the page's own queue ─▶ WebSocket
                  ▲                 └── no bound on the way ──────────┘ │
                  └────── credit, when a message has left ◀── Outflow ◀─┘ how many wait

marimo takes every message at once. So credit goes back when fewer wait than are on their way:
messages keep their order, and what has left are the oldest. A page that does not read holds its
kernel back, at the window's edge; a session without a page holds nothing back.

While messages wait, nothing is done until a page has taken one, or is gone: its connection tells
that (`telling_of_moves`). What no connection tells, such as a session that marimo has only now
begun to distribute, is found by looking, less and less often.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from mpkernel.errors import ProtocolError

__all__ = ["Outflow", "telling_of_moves"]

Send = Callable[[Any], Awaitable[None]]

_LOOK_AGAIN_S = 0.005
_LONGEST_WAIT_S = 1.0
_SENT_IN_A_ROW = 32
"""After so many messages without a wait, a page's connection lets the loop go round."""


class Outflow:
    """The messages of one session that are on their way. On the loop's thread.

    Args:
        loop: the running loop.
        waiting: how many messages the slowest of the session's pages has not taken.
        taken: told how many bytes have left.
        when_moved: has `Outflow.moved` called, once, when a page of the session takes a message or
            is gone.
        most_messages: how many may be on their way. As many fit into the session's window.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        waiting: Callable[[], int],
        taken: Callable[[int], None],
        when_moved: Callable[[Callable[[], None]], None],
        *,
        most_messages: int,
    ) -> None:
        self._loop = loop
        self._waiting = waiting
        self._taken = taken
        self._when_moved = when_moved
        self._most_messages = most_messages
        self._sizes: deque[int] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._wait_s = _LOOK_AGAIN_S

    @property
    def bytes_on_the_way(self) -> int:
        """Of all messages that have not left."""
        return sum(self._sizes)

    def sent(self, count: int) -> None:
        """A message of so many bytes is on its way.

        Raises:
            ProtocolError: the kernel's process sends more than the window lets it.
        """
        if len(self._sizes) >= self._most_messages:
            raise ProtocolError(
                f"{len(self._sizes)} messages wait for a page that does not read, beyond the"
                " session's window"
            )
        self._sizes.append(count)
        if self._timer is None:
            self._look_in(_LOOK_AGAIN_S)

    def forget(self) -> None:
        """Nobody wants to know any more what becomes of these."""
        self._sizes.clear()

    def moved(self) -> None:
        """A page has taken a message, or is gone."""
        if not self._sizes:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wait_s = _LOOK_AGAIN_S
        self._look_in(_LOOK_AGAIN_S)

    def _look_in(self, wait_s: float) -> None:
        self._timer = self._loop.call_later(wait_s, self._look)

    def _look(self) -> None:
        self._timer = None
        waiting = self._waiting()
        left_bytes = 0
        while len(self._sizes) > waiting:
            left_bytes += self._sizes.popleft()
        if left_bytes:
            self._taken(left_bytes)
        self._wait_s = _LOOK_AGAIN_S if left_bytes else min(2 * self._wait_s, _LONGEST_WAIT_S)
        if self._sizes:
            self._when_moved(self.moved)
            self._look_in(self._wait_s)


def telling_of_moves(send: Send, tell: Callable[[], None]) -> Send:
    """An ASGI `send` to a page that calls `tell` whenever the page has taken a message.

    Servers wait in `send` only when the page's connection is full. A page that reads again after a
    while finds room for thousands of small messages: these must not keep the loop from others.
    """
    sent_in_a_row = 0

    async def send_message(message: Any) -> None:
        nonlocal sent_in_a_row
        await send(message)
        tell()
        sent_in_a_row += 1
        if sent_in_a_row >= _SENT_IN_A_ROW:
            sent_in_a_row = 0
            await asyncio.sleep(0)

    return send_message
