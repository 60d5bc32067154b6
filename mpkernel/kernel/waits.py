"""Waits that an asynchronous exception can reach, made of slices: between two of them there is
bytecode. With `threading.Condition.wait` follow `queue.Queue`, `Event`, `Semaphore`, `Barrier` and
futures."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["sliced_sleep", "sliced_wait"]

_SLICE_S = 0.05

_Wait: TypeAlias = Callable[[threading.Condition, float | None], bool]


def sliced_sleep(
    sleep: Callable[[float], None], is_interruptible: Callable[[], bool]
) -> Callable[[float], None]:
    """`time.sleep`, in slices on the threads that an interrupt may reach."""

    def interruptible_sleep(seconds: float, /) -> None:
        """sleep(seconds): delay execution for a given number of seconds, which may be a float."""
        if not is_interruptible() or not seconds > _SLICE_S:
            sleep(seconds)
            return
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            sleep(min(left, _SLICE_S))

    return interruptible_sleep


def sliced_wait(wait: _Wait, is_interruptible: Callable[[], bool]) -> _Wait:
    """`threading.Condition.wait`, in slices on the threads that an interrupt may reach."""

    def interruptible_wait(condition: threading.Condition, timeout: float | None = None) -> bool:
        """Wait until notified or until a timeout occurs."""
        if not is_interruptible():
            return wait(condition, timeout)
        lock: Any = condition
        if not lock._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        # As the library's own, but for the slices. (These cannot be waits of its own: who is
        # notified when one has just timed out would wait for ever.)
        waiter = threading.Lock()
        waiter.acquire()
        lock._waiters.append(waiter)
        saved = lock._release_save()
        notified = False
        try:
            notified = _sliced_acquire(waiter, timeout)
            return notified
        finally:
            lock._acquire_restore(saved)
            if not notified:
                with contextlib.suppress(ValueError):
                    lock._waiters.remove(waiter)

    return interruptible_wait


def _sliced_acquire(lock: threading.Lock, timeout: float | None) -> bool:
    if timeout is None:
        while not lock.acquire(timeout=_SLICE_S):
            pass
        return True
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > _SLICE_S:
        if lock.acquire(timeout=_SLICE_S):
            return True
    return lock.acquire(timeout=max(0.0, left))
