"""`Outflow`: messages that a page has not taken yet count in its session's window.

    kernel ─▶ MarimoSession ─▶ marimo's queue ─▶ its thread ─▶ the page's own queue ─▶ WebSocket
                  ▲                 └── no limit on the way ──────────┘ │
                  └────── credit, when a message has left ◀── Outflow ◀─┘ how many wait

marimo takes every message at once. So credit is given when the page has taken some: fewer messages
wait for it than were sent. Messages keep their order, so those that it has taken are the oldest.
When a page does not read, its kernel waits once the window is full; without a page, no kernel
waits.

While messages wait, nothing is done until a page has taken one, or is gone: its connection calls us
then (`telling_of_moves`). Other changes, for example that marimo only now begins to distribute the
messages of a session, are found by looking again, less and less often.
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
"""After so many messages without a wait, a page's connection lets the loop do other work."""


class Outflow:
    """The messages of one session that are on their way. On the loop's thread.

    Args:
        loop: the running loop.
        waiting: how many messages the slowest of the session's pages has not taken.
        taken: called with the number of bytes that the page has taken.
        when_moved: has `Outflow.moved` called, once, when a page of the session takes a message or
            is gone.
        most_messages: how many may be on their way; as many as fit into the session's window.
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
        """The bytes of all messages that the page has not taken."""
        return sum(self._sizes)

    def sent(self, count: int) -> None:
        """A message of so many bytes is on its way.

        Raises:
            ProtocolError: the kernel's process sends more than the window allows.
        """
        if len(self._sizes) >= self._most_messages:
            raise ProtocolError(
                f"{len(self._sizes)} messages wait for a page that does not read, more than the"
                " session's window allows"
            )
        self._sizes.append(count)
        if self._timer is None:
            self._look_in(_LOOK_AGAIN_S)

    def forget(self) -> None:
        """Forget all messages that are on their way: the session needs no count any more."""
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

    Servers wait in `send` only when the page's connection is full. When a page reads again after a
    while, there is room for thousands of small messages at once. They must not keep the loop from
    other work.
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
