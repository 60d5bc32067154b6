"""Stopping what runs: an asynchronous exception, at a moment when it does no harm.

`PyThreadState_SetAsyncExc` reaches bytecode only. So the waits that can be reached are made of
slices (`waits`). A raw lock, `SimpleQueue.get`, `Thread.join` or a C call sees the exception when
it returns.

The exception never lands in the kernel's own steps: a thread that is inside one (`shield`) gets it
at that step's end. What is torn otherwise: a frame taken from a buffer and not written.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from mpkernel.host.landing import is_ending, would_tear
from mpkernel.kernel.waits import sliced_sleep, sliced_wait

__all__ = ["Interrupts", "install_waits"]

_BUSY_AFTER_S = 0.1

_Cancel: TypeAlias = Callable[[], Callable[[], bool]]

_interruptible: dict[int, Interrupts] = {}
"""By ident, the threads that a client may interrupt; single operations, each one atomic."""


class Interrupts:
    """Interrupts for one thread: the one that calls `guarded`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        self._thread: int | None = None  # while user code runs
        self._shields = 0
        self._pending = False
        self._thrown = False
        self._cancel: _Cancel | None = None
        self._was_cancelled: Callable[[], bool] | None = None  # by `end`

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """User code runs in this `with`: interrupts reach it, and none reaches past its end.

        Raises:
            KeyboardInterrupt: where the code was, or here at its end.
        """
        ident = threading.get_ident()
        _interruptible[ident] = self
        with self._lock:
            self._thread = ident
            self._thrown = False
        try:
            yield
        finally:
            late = self._leave()
        if late:
            raise KeyboardInterrupt

    def throw_again(self) -> None:
        """An exception was lost where Python can raise none: in a `__del__`, or in a callback of a
        weak reference, that ran on this thread. It is thrown from another, when this one is out of
        there."""
        later(0.0, self._throw_soon)

    def _throw_soon(self) -> None:
        with self._lock:
            if self._thread is not None:
                self._raise_in(self._thread)

    def _throw_unless(self, was_reached: Callable[[], bool], cancel: _Cancel) -> None:
        with self._lock:
            if self._thread is not None and self._cancel is cancel and not was_reached():
                self._raise_in(self._thread)

    def _raise_in(self, thread: int) -> None:
        """Now, or at the end of the kernel's own step. Under the lock."""
        if self._shields:
            self._pending = True
        else:
            self._thrown = True
            _throw(thread)

    @property
    def running(self) -> bool:
        """Whether there is something to interrupt."""
        return self._thread is not None

    def interrupt(self) -> bool:
        """Stop what runs, from another thread. False when nothing does."""
        with self._lock:
            if self._thread is None:
                return False
            if (cancel := self._cancel) is not None:
                was_reached = cancel()
                later(_BUSY_AFTER_S, lambda: self._throw_unless(was_reached, cancel))
            else:
                self._raise_in(self._thread)
            return True

    def end(self) -> bool:
        """Stop what runs, for good: for who asks again and again. What an earlier interrupt has set
        on its way out is left to it, and no exception is raised where it would do harm. False when
        nothing runs."""
        with self._lock:
            thread = self._thread
            if thread is None:
                return False
            if self._cancel is not None and self._was_cancelled is None:
                self._was_cancelled = self._cancel()
                return True
            is_out = self._was_cancelled is not None and self._was_cancelled()
            if not (is_out or is_ending(thread) or would_tear(thread)):
                self._raise_in(thread)
            return True

    @contextmanager
    def shield(self) -> Iterator[None]:
        """No exception lands in this `with`; one that comes meanwhile is raised at its end. For
        any thread: only that of `guarded` is shielded."""
        if threading.get_ident() != self._thread:
            yield
            return
        inside = pending = False
        try:
            # An exception that is on its way already lands at the end of the inner `with`.
            with self._lock:
                self._shields += 1
                inside = True
            yield
        finally:
            if inside:
                with self._lock:
                    self._shields -= 1
                    pending = self._pending and not self._shields
                    self._pending = self._pending and not pending
        if pending:
            raise KeyboardInterrupt

    @contextmanager
    def cancelled_by(self, cancel: _Cancel) -> Iterator[None]:
        """An interrupt calls `cancel`, on another thread, instead of raising: for an event loop,
        which sleeps where no exception reaches. What it returns tells whether the loop got there;
        where code that does not await keeps it from that, an exception is raised after all."""
        with self._lock:
            self._cancel, self._was_cancelled = cancel, None
        try:
            yield
        finally:
            with self._lock:
                self._cancel = self._was_cancelled = None

    def _leave(self) -> bool:
        """End the reach of interrupts. Returns whether one was on its way."""
        late = False
        while True:
            try:
                with self._lock:
                    thread, self._thread = self._thread, None
                    late, thrown = late or self._pending, self._thrown
                    self._pending = False
                    self._shields = 0
                    self._cancel = self._was_cancelled = None
                if thread is not None:
                    _interruptible.pop(thread, None)
                    if thrown:
                        _absorb(thread)
            except KeyboardInterrupt:  # it landed here, and is the last: none is sent from now on
                late = True
                continue
            return late


def install_waits() -> None:
    """Make the process's waits interruptible, for threads inside `Interrupts.guarded`, and let no
    interrupt be lost. Once."""
    global _later
    changed_time: Any = time
    changed_condition: Any = threading.Condition
    changed_time.sleep = sliced_sleep(time.sleep, _is_interruptible)
    changed_condition.wait = sliced_wait(threading.Condition.wait, _is_interruptible)
    _later = _Later()
    sys.unraisablehook = _keeping_interrupts(sys.unraisablehook)


def _is_interruptible() -> bool:
    return threading.get_ident() in _interruptible


def _keeping_interrupts(hook: Callable[[Any], object]) -> Callable[[Any], object]:
    def unraisable(lost: Any, /) -> None:
        interrupts = _interruptible.get(threading.get_ident())
        if interrupts is not None and lost.exc_type is KeyboardInterrupt:
            interrupts.throw_again()
        else:
            hook(lost)

    return unraisable


class _Later:
    """A thread that calls functions at their time. `call` is safe from anywhere."""

    def __init__(self) -> None:
        self._added: queue.SimpleQueue[tuple[float, int, Callable[[], None]]] = queue.SimpleQueue()
        self._numbers = itertools.count()
        threading.Thread(target=self._run, name="mpkernel-later", daemon=True).start()

    def call(self, delay_s: float, function: Callable[[], None]) -> None:
        self._added.put((time.monotonic() + delay_s, next(self._numbers), function))

    def _run(self) -> None:
        due: list[tuple[float, int, Callable[[], None]]] = []
        while True:
            wait_s = max(0.0, due[0][0] - time.monotonic()) if due else None
            try:
                heapq.heappush(due, self._added.get(timeout=wait_s))
            except queue.Empty:
                heapq.heappop(due)[2]()


_later: _Later | None = None


def later(delay_s: float, function: Callable[[], None]) -> None:
    """Have `function` called on another thread, after so many seconds. For what must not start a
    thread itself. `install_waits` comes first."""
    assert _later is not None
    _later.call(delay_s, function)


def _renew_locks() -> None:
    """In a fork, a lock may be held by a thread that is not there."""
    for interrupts in list(_interruptible.values()):
        interrupts._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)


def _throw(thread: int) -> None:
    """Have a KeyboardInterrupt raised in a thread soon."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)
    )


def _absorb(thread: int) -> None:
    """On the thread itself: take an exception back that may be on its way.

    Another one replaces it and lands here. (Replaced by none, as the interpreter would have it,
    Python 3.11 and 3.12 go on looking for it at every step: loops of all threads are half as slow
    again, and `sys.settrace` may hang.)
    """
    try:
        _throw(thread)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        pass
