"""`in_slices`: a long loop on the event loop's thread, cut so that nothing else waits for it.

    items  ─ do(item), do(item), … ─ 5 ms are over ─ the loop goes round once ─ do(item), …

Several callers at a time share one slice in each turn of the loop, and they take turns. So ten
processes that die together keep the loop from others no longer than one does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import TypeVar
from weakref import WeakKeyDictionary

__all__ = ["SLICE_S", "in_slices"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

SLICE_S = 0.005
"""How long one slice lasts. It is short beside the 25 ms that no callback should ever have to wait
for the loop."""


async def in_slices(
    items: Iterable[T],
    do: Callable[[T], object],
    *,
    slice_s: float = SLICE_S,
    on_error: Callable[[T, Exception], object] | None = None,
) -> None:
    """Call `do` with each of `items`, in order, and let the loop go round after each `slice_s`.

    The exception of one item does not stop the others. A cancellation ends the work between two
    slices: each item was then done wholly or not at all.

    Other code may change `items` between two slices. If it should not see such changes, give a list
    of your own (`list(table.values())`): a dict that changes ends the work with a RuntimeError.

    Args:
        items: what to work on; taken one by one.
        do: called on the loop's thread. It should take far less than `slice_s`.
        slice_s: how many seconds the work goes on before other callbacks have their turn.
        on_error: called with an item and the exception that `do` raised for it. Default: the first
            one is logged with its traceback, and the number of all others in one line at the end.

    Raises:
        Exception: what `on_error` or the iteration of `items` raises.
    """
    work = _work_of(asyncio.get_running_loop())
    failures = 0
    rest = iter(items)
    is_done = False
    while not is_done:
        async with work.lock:
            end = await work.begun_at() + slice_s
            is_done = True
            for item in rest:
                try:
                    do(item)
                except Exception as error:
                    if on_error is not None:
                        on_error(item, error)
                    elif not failures:
                        logger.exception("one item of many failed; the others go on do=%r", do)
                    failures += 1
                if time.monotonic() >= end:
                    is_done = False
                    break
            work.worked_until(end)
    if on_error is None and failures > 1:
        logger.error("%d items failed in all do=%r", failures, do)


class _Work:
    """What all callers of one loop do in its present turn.

    Attributes:
        lock: held by the caller that works; others get it in the order in which they asked.
    """

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._begun_at: float | None = None  # None: nobody has worked in this turn yet
        self._is_spent = False

    async def begun_at(self) -> float:
        """When work began in this turn of the loop. If the turn's slice is over, wait for the next
        turn."""
        while self._is_spent:
            await asyncio.sleep(0)
        if self._begun_at is None:
            self._begun_at = time.monotonic()
            asyncio.get_running_loop().call_soon(self._next_turn)
        return self._begun_at

    def worked_until(self, end: float) -> None:
        """A caller gives the thread back; its slice was to end at `end`."""
        self._is_spent = time.monotonic() >= end

    def _next_turn(self) -> None:
        self._begun_at = None
        self._is_spent = False


_works: WeakKeyDictionary[asyncio.AbstractEventLoop, _Work] = WeakKeyDictionary()


def _work_of(loop: asyncio.AbstractEventLoop) -> _Work:
    work = _works.get(loop)
    if work is None:
        work = _works[loop] = _Work()
    return work
