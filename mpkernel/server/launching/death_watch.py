"""`DeathWatch`: the end of one process, told once, on the event loop.

A descriptor says so, and is believed only when the system has an exit status:

- A sentinel Pipe closes a moment before its process is gone, or long before, where user code closes
  its descriptors.
- A process that a debugger holds is dead to its pidfd, but has no exit status until the debugger
  lets it go.

In both cases the descriptor stays readable, and a loop that went on watching it would spin: a timer
looks instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mpkernel.server.launching.process import Process

__all__ = ["DeathWatch"]

_FIRST_LOOK_S = 0.001
_LONGEST_LOOK_S = 0.25


class DeathWatch:
    """Watches from the moment it is made. On the loop's thread.

    Args:
        process: whose end is told.
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
        """Tell nothing from now on. Before the process's descriptors are closed; idempotent."""
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
