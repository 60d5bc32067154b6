"""Time limits for another process, in which a pause of this process does not count. `PatientTimer`
makes a call when the time is over; `patient_timeout` is `asyncio.timeout` with such a timer.

When a container or a virtual machine is frozen, a server and its processes stop together. When they
go on, every timer of the server's loop is due at once, although the processes had no time to do
anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

__all__ = ["PatientTimer", "patient_timeout"]

_STEPS = 4
_LATE_S = 0.1  # a step that is late by less than this has had an ordinary delay
_MOST_LATE_STEPS = 16


class PatientTimer:
    """Makes one call after a delay. On the loop's thread.

    The delay is divided into four steps. If a step ends too late, by more than its own length and
    by more than 0.1 s, then the loop was blocked or its process did not run, and the step is waited
    for again. This is done 16 times at most, so that the call is made also on a loop that is always
    late.

    Args:
        loop: makes the call, and tells the time.
        delay_s: how long to wait.
        call: what to call.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, delay_s: float, call: Callable[[], object]
    ) -> None:
        self._loop = loop
        self._call = call
        self._step_s = delay_s / _STEPS
        self._steps_left = _STEPS
        self._late_steps = 0
        self._wait()

    def cancel(self) -> None:
        """Do not make the call. Idempotent."""
        self._handle.cancel()

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._handle.cancelled()

    def _wait(self) -> None:
        self._due_at = self._loop.time() + self._step_s
        self._handle = self._loop.call_later(self._step_s, self._on_step)

    def _on_step(self) -> None:
        late_s = self._loop.time() - self._due_at
        if late_s > max(self._step_s, _LATE_S) and self._late_steps < _MOST_LATE_STEPS:
            self._late_steps += 1
        else:
            self._steps_left -= 1
        if self._steps_left:
            self._wait()
        else:
            self._call()


class patient_timeout:
    """Cancel what is awaited in this ``async with`` after a delay, and raise `TimeoutError`.

    It is no generator: a loop that is shut down would warn of each one that begins then.

    Args:
        delay_s: how long it may take, as `PatientTimer` counts.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        timeout = await self._timeout.__aenter__()
        self._timer = PatientTimer(loop, self._delay_s, lambda: timeout.reschedule(loop.time()))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)
