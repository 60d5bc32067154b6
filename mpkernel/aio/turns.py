"""`Turn`: how much time of the event loop's present turn its many small readers may still use.

A reader whose peer sends more than a little asks after each part whether there is time left. If
there is none, it stops, and goes on in a later turn. Those who had to stop go on in the order in
which they asked:

    reader: part, part, … ─ 2 ms are over ─ everybody else, for 2 ms ─ the reader's next part, …

So the loop goes round at least every few milliseconds, however many peers send however much, and
half of its time is left for all other work. A peer that sends little is not held back by peers that
send much.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

__all__ = ["Turn", "turn_of"]

_TURN_S = 0.002
_REST_S = 0.002


class Turn:
    """The present turn of one loop. On the loop's thread."""

    def __init__(self) -> None:
        self._ends_at: float | None = None  # None: nobody has asked for much in this turn
        self._waiting: deque[Callable[[], object]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_over(self) -> bool:
        """Whether the readers that asked for time have used this turn up. Costs almost nothing when
        no reader has asked."""
        return self._ends_at is not None and time.monotonic() >= self._ends_at

    def has_time_left(self) -> bool:
        """Whether to go on in this turn. The turn's time is counted from the first such question in
        it."""
        if self._ends_at is None:
            self._ends_at = time.monotonic() + _TURN_S
            asyncio.get_running_loop().call_soon(self._next)
            return True
        return time.monotonic() < self._ends_at

    def later(self, call: Callable[[], object]) -> None:
        """Make this call in a later turn that has time for it. The call may use `later` again."""
        self._waiting.append(call)
        self._set_timer()

    def _next(self) -> None:
        self._ends_at = None

    def _go_on(self) -> None:
        self._timer = None
        try:
            for _ in range(len(self._waiting)):
                self._waiting.popleft()()  # at least one goes on in each turn
                if self.is_over:
                    break
        finally:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_REST_S, self._go_on)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turn] = WeakKeyDictionary()


def turn_of(loop: asyncio.AbstractEventLoop) -> Turn:
    """The one `Turn` of this loop, which all readers on the loop share."""
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = Turn()
    return turn
