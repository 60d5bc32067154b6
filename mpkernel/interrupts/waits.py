"""Waits that an asynchronous exception can stop. They are made of slices, with bytecode between two
of them, where the interpreter can raise the exception.

`time.sleep` is replaced, and so are `os.waitpid` (the end of a child process) and the `select` of
all selectors: in the latter wait event loops, such as that of `asyncio.run`, `subprocess` while it
reads what a program writes, and Pipes and queues of `multiprocessing`.

The waits of `threading`, and with them those of `queue.Queue`, futures and all others that use
`threading.Condition`, are not replaced: each wait of a condition makes a lock and waits until
somebody releases it, and these locks wait in slices. The module `threading` makes them through its
private name `_allocate_lock`, and only that name is replaced.
"""

from __future__ import annotations

import functools
import operator
import os
import select
import selectors
import sys
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
    waitpid = builtin_like(os.waitpid, _sliced_waitpid(os.waitpid, is_interruptible))
    for module in (os, sys.modules[os.waitpid.__module__]):  # pickle looks it up in the latter
        setattr(module, "waitpid", waitpid)  # noqa: B010 (a type checker forbids the assignment)
    for kind in _kinds_of_selectors():
        kind.select = _sliced_select(kind.select, is_interruptible)
    WAITING_CODE.update(
        waiting.__code__
        for waiting in (_Waiter.acquire, _sleep_in_slices, _select_in_slices, _wait_until_ended)
    )


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


def _sliced_waitpid(
    waitpid: Callable[[int, int], tuple[int, int]], is_interruptible: Callable[[], bool]
) -> Callable[..., tuple[int, int]]:
    def waitpid_unless_interrupted(*args: Any) -> tuple[int, int]:
        if args[1:] != (0,) or type(args[0]) is not int or args[0] <= 0 or not is_interruptible():
            return waitpid(*args)
        pid: int = args[0]
        found = waitpid(pid, os.WNOHANG)  # which raises its own error, if this is no child
        if found[0] == pid:
            return found
        try:
            pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):  # the system has none, or no descriptor is left
            return waitpid(pid, 0)
        # An exception comes in `_wait_until_ended` only: the other steps belong together.
        try:
            _wait_until_ended(pidfd)
        finally:
            os.close(pidfd)
        return waitpid(pid, 0)

    return waitpid_unless_interrupted


def _wait_until_ended(pidfd: int) -> None:
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    while not ended.poll(_SLICE_S * 1000):
        pass


def _kinds_of_selectors() -> set[Any]:
    kinds = {kind for kind in vars(selectors).values() if isinstance(kind, type)}
    return {kind for kind in kinds if "select" in vars(kind)} - {selectors.BaseSelector}


def _sliced_select(
    select_once: Callable[..., list[Any]], is_interruptible: Callable[[], bool]
) -> Callable[..., list[Any]]:
    def select_unless_interrupted(self: Any, timeout: float | None = None) -> list[Any]:
        is_long = timeout is None or (
            isinstance(timeout, float | int) and _SLICE_S < timeout < _LONGEST_S
        )
        if is_long and is_interruptible():
            return _select_in_slices(select_once, self, timeout)
        return select_once(self, timeout)

    WAITING_CODE.add(select_unless_interrupted.__code__)
    return functools.wraps(select_once)(select_unless_interrupted)


def _select_in_slices(
    select_once: Callable[..., list[Any]], selector: Any, timeout: float | None
) -> list[Any]:
    deadline = None if timeout is None else monotonic() + timeout
    while deadline is None or deadline - monotonic() > _SLICE_S:
        if ready := select_once(selector, _SLICE_S):
            return ready
    return select_once(selector, max(0.0, deadline - monotonic()))


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
