"""Waits that an asynchronous exception can stop. They are made of slices, with bytecode between two
of them, where the interpreter can raise the exception.

`time.sleep` is replaced. The waits of `threading`, and with them those of `queue.Queue`, futures
and all others that use `threading.Condition`, are not: each wait of a condition makes a lock and
waits until somebody releases it, and these locks wait in slices. The module `threading` makes them
through its private name `_allocate_lock`, and only that name is replaced.
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable
from typing import Any

from mpkernel.builtins_like import builtin_like
from mpkernel.interrupts.safe_points import WAITING_CODE
from mpkernel.own_clock import monotonic

__all__ = ["make_waits_interruptible"]

_SLICE_S = 0.05
_LONGEST_S = 9_223_372_036
"""`time.sleep` refuses a longer time, with an error of its own."""


def make_waits_interruptible(is_interruptible: Callable[[], bool]) -> None:
    """Have waits end soon after an exception is set for their thread, on threads for which
    `is_interruptible()` is true. To be called once."""
    changed_time: Any = time
    changed_threading: Any = threading
    changed_time.sleep = builtin_like(time.sleep, _sliced_sleep(time.sleep, is_interruptible))
    changed_threading._allocate_lock = _allocating_waiters(is_interruptible)
    WAITING_CODE.add(_Waiter.acquire.__code__)
    WAITING_CODE.add(_sleep_in_slices.__code__)


def _sliced_sleep(
    sleep: Callable[[float], None], is_interruptible: Callable[[], bool]
) -> Callable[..., None]:
    def sleep_unless_interrupted(*args: Any, **kwargs: Any) -> None:
        seconds = _seconds(*args) if len(args) == 1 and not kwargs and is_interruptible() else None
        if seconds is None or not 0 <= seconds <= _LONGEST_S:
            sleep(*args, **kwargs)  # which raises its own errors
        else:
            _sleep_in_slices(sleep, seconds)

    WAITING_CODE.add(sleep_unless_interrupted.__code__)
    return sleep_unless_interrupted


def _seconds(value: Any) -> float | None:
    """The seconds that `time.sleep` would wait; None when the value is not a number."""
    if isinstance(value, float):
        return value
    try:
        return operator.index(value)
    except TypeError:
        return None


def _sleep_in_slices(sleep: Callable[[float], None], seconds: float) -> None:
    deadline = monotonic() + seconds
    left = seconds
    while left > _SLICE_S:
        sleep(_SLICE_S)
        left = deadline - monotonic()
    sleep(max(left, 0))


def _allocating_waiters(is_interruptible: Callable[[], bool]) -> Callable[[], threading.Lock]:
    def allocate_lock() -> Any:
        return _Waiter() if is_interruptible() else threading.Lock()

    return allocate_lock


class _Waiter:
    """A lock that is acquired in slices."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.release = self._lock.release

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not blocking or 0 <= timeout <= _SLICE_S:
            return self._lock.acquire(blocking, timeout)
        if timeout < 0:
            while not self._lock.acquire(timeout=_SLICE_S):
                pass
            return True
        if timeout > threading.TIMEOUT_MAX:
            return self._lock.acquire(blocking, timeout)  # which raises its own error
        deadline = monotonic() + timeout
        while (left := deadline - monotonic()) > _SLICE_S:
            if self._lock.acquire(timeout=_SLICE_S):
                return True
        return self._lock.acquire(timeout=max(0.0, left))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)
