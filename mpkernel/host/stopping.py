"""Kernels that were asked to stop and do not end: they are interrupted, and in the end given up.

    asked ─patience─▶ interrupted, again and again ─grace─▶ its CPU time ─ grows ──▶ deaf: drain
                            ▲                                    │
                            │                                 does not
                            │                                    ▼
                            └─────────── grows again ─────── abandoned: counted, until it wakes

An interrupt stops user code only, and not code that already ends because of an earlier interrupt.
The kernel itself knows when that is (`HostedKernel.interruptible_by`). While no user code runs, the
kernel is starting or ending by itself, and gets more time. It also gets more time while it imports
a module: if the import were interrupted, other sessions would find the module broken.

A *deaf* thread goes on computing although it is interrupted. It takes CPU time from every other
session of the process, and only the end of the process ends it. So new sessions must go to another
process. A thread that only waits costs nothing but its memory. It is *abandoned*: for its client
the session is over, and the thread ends when it wakes.

All of it happens on the dispatcher's thread, between two messages.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from typing import Protocol

from mpkernel.late_logger import late_logger

__all__ = ["Stoppable", "Stopper", "thread_clock"]

logger = late_logger(__name__)

_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.25
_OWN_STEPS_GRACES = 5
_LOOK_S = 0.5
_FIRST_LOOK_AGAIN_S = 1.0
_LONGEST_LOOK_AGAIN_S = 30.0
_GROWING_SHARE = 0.02
"""The share of one CPU. A thread that uses more is taken to compute, one that uses less to wait. A
thread that polls ten times a second uses a tenth of this share. A thread in an endless loop uses
more than the share, even beside forty others in such loops."""


class Stoppable(Protocol):
    """What is needed of a kernel to stop it."""

    session_id: str

    @property
    def ended(self) -> bool:
        """Whether its thread is done."""
        ...

    def interrupt(self) -> bool:
        """Stop the user's code, if that is possible now. Returns False when the kernel needs more
        time: no such code runs, or it imports a module."""
        ...

    def cpu_s(self) -> float | None:
        """CPU time of its thread in seconds; None where that is not known."""
        ...

    def mute(self) -> None:
        """Drop what it sends from now on."""
        ...

    def abandon(self, error: str) -> None:
        """Tell the client that the session is over; `error` says why."""
        ...


class _Phase(enum.Enum):
    INTERRUPTED = "interrupted"
    MEASURED = "measured"
    ABANDONED = "abandoned"


class _Stop:
    """A kernel that was asked to stop."""

    def __init__(self, kernel: Stoppable, due: float) -> None:
        self.kernel = kernel
        self.phase = _Phase.INTERRUPTED
        self.due = due
        self.began = due
        self.pause_s = _FIRST_PAUSE_S
        self.measured_at = due
        self._cpu_s: float | None = None

    def interrupt_from(self, now: float) -> None:
        self.phase, self.began, self.pause_s = _Phase.INTERRUPTED, now, _FIRST_PAUSE_S

    def measure_until(self, phase: _Phase, now: float, due: float) -> None:
        self.phase, self.due, self.measured_at = phase, due, now
        self._cpu_s = self.kernel.cpu_s()

    def has_grown(self, now: float) -> bool:
        after_s = self.kernel.cpu_s()
        if after_s is None or self._cpu_s is None:
            return False
        return after_s - self._cpu_s > _GROWING_SHARE * (now - self.measured_at)


class Stopper:
    """Interrupts kernels that were asked to stop, and gives up those that do not end. All of it on
    the dispatcher's thread.

    Args:
        grace_s: how long interrupts are repeated.
        max_abandoned: how many threads may be abandoned before the host is to be drained.
        want_drain: called with the reason when the host is to be drained.
        clock: in seconds, for tests.
    """

    def __init__(
        self,
        *,
        grace_s: float,
        max_abandoned: int,
        want_drain: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grace_s = grace_s
        self._max_abandoned = max_abandoned
        self._want_drain = want_drain
        self._clock = clock
        self._stops: dict[Stoppable, _Stop] = {}

    @property
    def abandoned(self) -> int:
        """Threads that were abandoned and have not ended."""
        return sum(
            stop.phase is _Phase.ABANDONED and not stop.kernel.ended
            for stop in self._stops.values()
        )

    def stop(self, kernel: Stoppable, patience_s: float = 0.0) -> None:
        """A kernel was asked to stop: interrupt it when it has not ended after `patience_s`
        seconds. When this is called again, the earlier of the two times counts. The interrupt
        itself is sent in `run_due`."""
        due = self._clock() + patience_s
        stop = self._stops.setdefault(kernel, _Stop(kernel, due))
        if due < stop.began:
            stop.due = stop.began = due

    def run_due(self) -> float | None:
        """Do what is due. Returns the seconds until more is due; None when nothing will be."""
        if not self._stops:
            return None
        now = self._clock()
        for stop in list(self._stops.values()):
            if stop.kernel.ended:
                del self._stops[stop.kernel]
            elif stop.due <= now:
                self._go_on(stop, now)
        if not self._stops:
            return None
        return max(0.0, min(stop.due for stop in self._stops.values()) - self._clock())

    def _go_on(self, stop: _Stop, now: float) -> None:
        match stop.phase:
            case _Phase.INTERRUPTED:
                self._interrupt(stop, now)
            case _Phase.MEASURED if stop.has_grown(now):
                self._give_up(stop)
            case _Phase.MEASURED:
                self._abandon(stop, now)
            case _Phase.ABANDONED if stop.has_grown(now):
                stop.interrupt_from(now)
                self._interrupt(stop, now)
            case _Phase.ABANDONED:
                self._look_again(stop, now)

    def _interrupt(self, stop: _Stop, now: float) -> None:
        stop.kernel.mute()
        graces = 1 if stop.kernel.interrupt() else _OWN_STEPS_GRACES
        ends = stop.began + graces * self._grace_s
        if now >= ends:
            stop.measure_until(_Phase.MEASURED, now, now + _LOOK_S)
            return
        stop.due = min(now + stop.pause_s, ends)
        stop.pause_s = min(2 * stop.pause_s, _LONGEST_PAUSE_S)

    def _give_up(self, stop: _Stop) -> None:
        name = stop.kernel.session_id
        self._want_drain(f"the thread of session {name} computes on, whatever interrupts it")
        stop.kernel.abandon("its thread computes on, whatever interrupts it")
        del self._stops[stop.kernel]

    def _abandon(self, stop: _Stop, now: float) -> None:
        stop.pause_s = _FIRST_LOOK_AGAIN_S
        stop.measure_until(_Phase.ABANDONED, now, now + stop.pause_s)
        count = self.abandoned
        if count > self._max_abandoned:
            self._want_drain(f"{count} threads of closed sessions still wait in this process")
        waits = "its thread still waits for something; it ends when it wakes"
        logger.warning("session closed, but %s session=%s", waits, stop.kernel.session_id)
        stop.kernel.abandon(waits)

    def _look_again(self, stop: _Stop, now: float) -> None:
        stop.kernel.interrupt()  # earlier ones may have come where none can be raised
        stop.pause_s = min(2 * stop.pause_s, _LONGEST_LOOK_AGAIN_S)
        stop.measure_until(_Phase.ABANDONED, now, now + stop.pause_s)


def thread_clock() -> Callable[[], float | None]:
    """Returns a function that any thread may call: the CPU time of the thread that called
    `thread_clock`; None where there is no such clock, or when that thread has ended."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return lambda: None
    # The clock is looked up on the thread itself: for a thread that has ended, the C library may
    # crash.
    clock = time.pthread_getcpuclockid(threading.get_ident())

    def cpu_s() -> float | None:
        try:
            return time.clock_gettime(clock)
        except OSError:
            return None

    return cpu_s
