"""`PatientTimer`: a time limit for another process, in which a pause of this one does not count.

A container or a virtual machine that is frozen stops a server and its processes together. When they
go on, every timer of the loop is due at once, and the others have had no time to do anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["PatientTimer"]

_STEPS = 4
_LATE_S = 0.1  # less than that is an ordinary delay, and a loop's clock counts milliseconds


class PatientTimer:
    """Calls once, after a delay that is waited for in four steps. A step that ends later than it
    should by more than its own length, and by more than 0.1 s, is waited for again: the loop was
    blocked, or its process did not run. On the loop's thread.

    Args:
        loop: calls it.
        delay_s: how long to wait.
        call: what to call.
        clock: tells the time in seconds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        delay_s: float,
        call: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._call = call
        self._clock = clock
        self._step_s = delay_s / _STEPS
        self._steps_left = _STEPS
        self._wait()

    def cancel(self) -> None:
        """Call nothing any more. Idempotent."""
        self._handle.cancel()

    def _wait(self) -> None:
        self._due_at = self._clock() + self._step_s
        self._handle = self._loop.call_later(self._step_s, self._on_step)

    def _on_step(self) -> None:
        late_s = self._clock() - self._due_at
        if late_s <= max(self._step_s, _LATE_S):
            self._steps_left -= 1
        if self._steps_left:
            self._wait()
        else:
            self._call()
