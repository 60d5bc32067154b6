"""Stopping what runs: an asynchronous exception, at a moment when it does no harm.

`PyThreadState_SetAsyncExc` reaches bytecode only. So the waits that can be reached are made of
slices (`waits`). A raw lock, `SimpleQueue.get`, `Thread.join` or a C call sees the exception when
it returns.

The exception never lands in the kernel's own steps: a thread that is inside one (`shield`) gets it
at that step's end. What is torn otherwise: a frame taken from a buffer and not written. Nor does it
land where it would harm other sessions, in an import for example (`safe_points`): it is tried again
and again until the thread is out of there, or its code is at its end.
"""

from __future__ import annotations

import enum
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

from mpkernel.builtins_like import builtin_like
from mpkernel.interrupts.safe_points import is_ending, is_importing, raise_in, throw
from mpkernel.interrupts.waits import make_waits_interruptible

__all__ = ["Interrupts", "install_waits"]

_BUSY_AFTER_S = 0.1
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.25

_Cancel: TypeAlias = Callable[[], Callable[[], bool]]

_interruptible: dict[int, Interrupts] = {}
"""By ident, the threads that a client may interrupt; single operations, each one atomic."""


class _Wish(enum.Enum):
    """Why an exception is to be raised, which says how long it is tried.

    INTERRUPT: the client wants it. Until it is raised, or the code is at its end.
    END: the session is closed, and `end` is called again and again. For half a second, and not
        while code that was interrupted is on its way out.
    """

    INTERRUPT = "interrupt"
    END = "end"


class Interrupts:
    """Interrupts for one thread: the one that calls `guarded`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        self._thread: int | None = None  # while user code runs
        self._shields = 0
        self._pending = False
        self._thrown = False
        self._wish: _Wish | None = None
        self._tries = 0  # the number of the last series of tries: older ones stop
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
            self._begin_tries(_Wish.INTERRUPT)

    def _throw_unless(self, was_reached: Callable[[], bool], cancel: _Cancel) -> None:
        with self._lock:
            if self._cancel is cancel and not was_reached():
                self._begin_tries(_Wish.INTERRUPT)

    def _begin_tries(self, wish: _Wish) -> None:
        """Under the lock."""
        self._tries += 1
        if self._thread is not None and self._wish is not _Wish.INTERRUPT:
            self._wish = wish
        self._try(self._tries, _FIRST_PAUSE_S)

    def _try_again(self, number: int, pause_s: float) -> None:
        with self._lock:
            self._try(number, pause_s)

    def _try(self, number: int, pause_s: float) -> None:
        """Under the lock."""
        thread, wish = self._thread, self._wish
        if thread is None or wish is None or number != self._tries:
            return
        if self._shields:
            self._pending, self._wish = True, None
        elif not (wish is _Wish.END and is_ending(thread)) and throw(thread):
            self._thrown, self._wish = True, None
        elif wish is _Wish.INTERRUPT or pause_s < _LONGEST_PAUSE_S:
            next_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            later(pause_s, lambda: self._try_again(number, next_s))

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
                self._begin_tries(_Wish.INTERRUPT)
            return True

    def end(self) -> bool:
        """Stop what runs, for good: for who asks again and again. What an earlier interrupt has set
        on its way out is left to it. False when the thread needs more time: nothing runs, or it
        imports, which nothing may end but its own end."""
        with self._lock:
            thread = self._thread
            if thread is None:
                return False
            if self._cancel is not None and self._was_cancelled is None:
                self._was_cancelled = self._cancel()
            elif self._was_cancelled is None or not self._was_cancelled():
                self._begin_tries(_Wish.END)
            return not is_importing(thread)

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
                    late = late or self._pending or self._wish is _Wish.INTERRUPT
                    thrown = self._thrown
                    self._pending, self._wish = False, None
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
    make_waits_interruptible(_is_interruptible)
    _later = _Later()
    hook = sys.unraisablehook
    sys.unraisablehook = builtin_like(hook, _keeping_interrupts(hook))


def _is_interruptible() -> bool:
    return threading.get_ident() in _interruptible


def _keeping_interrupts(hook: Callable[..., object]) -> Callable[..., object]:
    def unraisable(*args: Any, **options: Any) -> None:
        interrupts = _interruptible.get(threading.get_ident())
        lost = getattr(args[0], "exc_type", None) if args else None
        if interrupts is not None and lost is KeyboardInterrupt:
            interrupts.throw_again()
        else:
            hook(*args, **options)

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


def _absorb(thread: int) -> None:
    """On the thread itself: take an exception back that may be on its way.

    Another one replaces it and lands here. (Replaced by none, as the interpreter would have it,
    Python 3.11 and 3.12 go on looking for it at every step: loops of all threads are half as slow
    again, and `sys.settrace` may hang.)
    """
    try:
        raise_in(thread)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        pass
