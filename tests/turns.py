"""For tests of work that keeps the event loop busy: counts the turns of the loop, and gives it
work."""

from __future__ import annotations

import asyncio
import time

__all__ = ["Turns", "work"]


def work(seconds: float) -> None:
    """Keep the thread busy for this number of seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


class Turns:
    """Counts the turns of the loop for as long as the `with` lasts."""

    def __init__(self) -> None:
        self.count = 0
        self._is_over = False

    def __enter__(self) -> Turns:
        self._next()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over = True

    def _next(self) -> None:
        if not self._is_over:
            self.count += 1
            asyncio.get_running_loop().call_soon(self._next)
