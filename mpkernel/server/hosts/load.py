"""`Load`: counts how many of a process's sessions compute, without looking at each session.

    opened ──▶ new ── its first command is done, or it was sent none for a second ──▶ idle
                                                                idle ◀── commands ──▶ running

A new session counts as one that computes. Most kernels begin with their longest command; and when
several sessions are opened together, each must be counted before the next one is placed. A later
command counts when it takes longer than a moment: moving a slider is not a computation.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Load"]

_BRIEF_S = 0.1
_NEW_S = 1.0


class Load:
    """The load of one process. On the loop's thread.

    Args:
        clock: seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._new: set[int] = set()
        self._unused: dict[int, float] = {}  # new and without a command: when their kernels began
        self._running: dict[int, float] = {}  # since when each runs its command, the longest first

    @property
    def computing_count(self) -> int:
        """How many sessions compute."""
        if not (self._new or self._running):
            return 0
        now = self._clock()
        self._forget_unused(now)
        brief = 0
        for since in reversed(self._running.values()):
            if since <= now - _BRIEF_S:
                break
            brief += 1
        return len(self._new) + len(self._running) - brief

    def opened(self, number: int) -> None:
        """A session was opened."""
        self._new.add(number)

    def created(self, number: int) -> None:
        """The session's kernel runs, and has begun no command yet."""
        if number in self._new:
            self._unused[number] = self._clock()

    def progressed(self, number: int, begun: int, done: int) -> None:
        """The session's kernel has begun and done so many commands."""
        self._unused.pop(number, None)
        if done:
            self._new.discard(number)
        self._running.pop(number, None)
        if begun > done > 0:
            self._running[number] = self._clock()

    def ended(self, number: int) -> None:
        """The session has ended. Idempotent."""
        self._new.discard(number)
        self._unused.pop(number, None)
        self._running.pop(number, None)

    def _forget_unused(self, now: float) -> None:
        while self._unused:
            number, since = next(iter(self._unused.items()))
            if since > now - _NEW_S:
                return
            del self._unused[number]
            self._new.discard(number)
