"""`DeathWatch`: reports the end of one process, once, on the event loop.

When the process ends, a descriptor becomes readable. But the descriptor can be too early, so the
end is reported only when the system has an exit status:

- A sentinel pipe closes a moment before its process is gone; or long before, if user code closes
  all descriptors.
- The pidfd of a process that a debugger holds is readable when the process is dead. But the process
  has no exit status until the debugger lets it go.

In both cases the descriptor stays readable, and a loop that went on watching it would use all of a
CPU. So a timer asks for the exit status again and again instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mpkernel.server.launching.process import Process

__all__ = ["DeathWatch"]

_FIRST_LOOK_S = 0.001
_LONGEST_LOOK_S = 0.25


class DeathWatch:
    """Watches one process from now on. On the loop's thread.

    Args:
        process: the process whose end is told.
        loop: the running loop.
        on_death: called once, when the process has an exit status; it is not reaped yet.

    Raises:
        OSError: the descriptor cannot be watched.
    """

    def __init__(
        self,
        process: Process,
        loop: asyncio.AbstractEventLoop,
        on_death: Callable[[], None],
    ) -> None:
        self._process = process
        self._loop = loop
        self._on_death = on_death
        self._fd: int | None = process.death_fd
        self._timer: asyncio.TimerHandle | None = None
        loop.add_reader(self._fd, self._look, _FIRST_LOOK_S)

    def close(self) -> None:
        """Report nothing from now on. To be called before the process's descriptors are closed.
        Idempotent."""
        self._stop_reading()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, next_look_s: float) -> None:
        self._stop_reading()
        if self._process.status() is None:
            later_s = min(2 * next_look_s, _LONGEST_LOOK_S)
            self._timer = self._loop.call_later(next_look_s, self._look, later_s)
            return
        self._timer = None
        self._on_death()

    def _stop_reading(self) -> None:
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            self._fd = None
