"""Stopping code that runs: an asynchronous exception, at a moment when it does no harm.

`PyThreadState_SetAsyncExc` raises an exception between two instructions of bytecode. So waits that
an exception must reach are made of slices (`waits`). A raw lock, `SimpleQueue.get`, `Thread.join`
or a C call gets the exception when it returns.

The exception is never raised in the kernel's own steps: a thread that is inside one (`shield`) gets
it at that step's end. Otherwise a frame could be taken from a buffer and never written. Nor is it
raised where it would harm other sessions, in an import for example (`safe_points`): it is tried
again and again until the thread is out of there, or its code is at its end.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

from mpkernel.builtins_like import builtin_like
from mpkernel.interrupts.landing import at_any_place
from mpkernel.interrupts.safe_points import is_ending, is_importing, raise_in, throw
from mpkernel.interrupts.thread_starts import make_thread_starts_safe
from mpkernel.interrupts.waits import make_waits_interruptible
from mpkernel.own_clock import monotonic

__all__ = ["Interrupts", "install_waits"]

_BUSY_AFTER_S = 0.1
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.25

_Cancel: TypeAlias = Callable[[], Callable[[], bool]]

_interruptible: dict[int, Interrupts] = {}
"""By ident, the threads that a client may interrupt; single operations, each one atomic."""


class _Wish(enum.Enum):
    """Why an exception is to be raised. The reason decides how long the tries go on.

    INTERRUPT: the client wants it. The tries go on until it is raised, or the code is at its end.
    END: the session is closed, and `end` is called again and again. Each call tries for half a
        second, and not while code that was interrupted is already ending.
    """

    INTERRUPT = "interrupt"
    END = "end"


class Interrupts:
    """Interrupts for one thread: the one that calls `guarded`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        self._thread: int | None = None  # its ident, while user code runs
        self._shields = 0
        self._pending = False
        self._thrown = False
        self._wish: _Wish | None = None
        self._tries = 0  # the number of the last series of tries: older ones stop
        self._wish_met: Callable[[], bool] | None = None  # whether a loop has cancelled its task
        self._cancel: _Cancel | None = None
        self._was_cancelled: Callable[[], bool] | None = None  # set by `end`

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """User code runs in this `with`. Interrupts stop it, and none is raised after the `with`.

        Raises:
            KeyboardInterrupt: inside the code, or at the end of the `with`.
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
        """The exception was raised in a `__del__` or in the callback of a weak reference, on this
        thread, where Python drops exceptions. Another thread throws it again, once this thread is
        out of there."""
        later(0.0, self._throw_soon)

    def _throw_soon(self) -> None:
        with self._lock:
            self._begin_tries(_Wish.INTERRUPT)

    def _throw_unless(self, was_reached: Callable[[], bool], cancel: _Cancel) -> None:
        with self._lock:
            if self._cancel is cancel and not was_reached():
                self._begin_tries(_Wish.INTERRUPT, was_reached)

    def _begin_tries(self, wish: _Wish, met: Callable[[], bool] | None = None) -> None:
        """Under the lock. `met` tells whether an event loop has cancelled its task meanwhile."""
        self._tries += 1
        if self._thread is not None and self._wish is not _Wish.INTERRUPT:
            self._wish, self._wish_met = wish, met
        self._try(self._tries, _FIRST_PAUSE_S)

    def _try_again(self, number: int, pause_s: float) -> None:
        with self._lock:
            self._try(number, pause_s)

    def _try(self, number: int, pause_s: float) -> None:
        """Under the lock."""
        thread, wish = self._thread, self._wish
        if thread is None or wish is None or number != self._tries:
            return
        met = self._wish_met
        if met is not None and met():
            self._wish = None
        elif self._shields:
            self._pending, self._wish = True, None
        elif not (wish is _Wish.END and is_ending(thread)) and throw(thread, met):
            self._thrown, self._wish = True, None
        elif wish is _Wish.INTERRUPT or pause_s < _LONGEST_PAUSE_S:
            next_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            later(pause_s, lambda: self._try_again(number, next_s))

    @property
    def running(self) -> bool:
        """Whether user code runs, which an interrupt can stop."""
        return self._thread is not None

    def interrupt(self) -> bool:
        """Stop the code that runs, from another thread. Returns False when none runs."""
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
        """Stop the code that runs, since the session is closed; to be called again and again. Code
        that already ends because of an earlier interrupt is not disturbed. Returns False when the
        thread needs more time: no code runs, or it imports a module, which must not be stopped."""
        with self._lock:
            thread = self._thread
            if thread is None:
                return False
            if self._cancel is not None and self._was_cancelled is None:
                self._was_cancelled = self._cancel()
            elif self._was_cancelled is None or not self._was_cancelled():
                self._begin_tries(_Wish.END, self._was_cancelled)
            return not is_importing(thread)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """No exception is raised in this `with`; one that comes meanwhile is raised at its end. Any
        thread may use it, but only that of `guarded` is shielded."""
        if threading.get_ident() != self._thread:
            yield
            return
        inside = pending = False
        try:
            # An exception that was thrown before is raised at the end of the inner `with`.
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
        """In this `with` an interrupt calls `cancel`, on another thread, instead of raising: it is
        for an event loop, which sleeps where no exception reaches it. The function that `cancel`
        returns tells whether the loop has carried out the cancellation. If code that does not await
        keeps the loop from it, an exception is raised after all."""
        with self._lock:
            self._cancel, self._was_cancelled = cancel, None
        try:
            yield
        finally:
            with self._lock:
                self._cancel = self._was_cancelled = None

    def _leave(self) -> bool:
        """From now on no interrupt stops this thread. Returns whether one was not raised yet."""
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
                        at_any_place(thread)
            except KeyboardInterrupt:  # the last one: none is thrown from now on
                late = True
                continue
            return late


def install_waits() -> None:
    """Make the process's waits interruptible for threads inside `Interrupts.guarded`, and keep
    interrupts that a `__del__` would lose, or a thread that is being started. To be called once."""
    global _later
    make_waits_interruptible(_is_interruptible)
    make_thread_starts_safe(_shield)
    _later = _Later()
    hook = sys.unraisablehook
    sys.unraisablehook = builtin_like(hook, _keeping_interrupts(hook))


def _is_interruptible() -> bool:
    return threading.get_ident() in _interruptible


def _shield() -> AbstractContextManager[None] | None:
    interrupts = _interruptible.get(threading.get_ident())
    return None if interrupts is None else interrupts.shield()


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
        self._added.put((monotonic() + delay_s, next(self._numbers), function))

    def _run(self) -> None:
        due: list[tuple[float, int, Callable[[], None]]] = []
        while True:
            wait_s = max(0.0, due[0][0] - monotonic()) if due else None
            try:
                heapq.heappush(due, self._added.get(timeout=wait_s))
            except queue.Empty:
                heapq.heappop(due)[2]()


_later: _Later | None = None


def later(delay_s: float, function: Callable[[], None]) -> None:
    """Have `function` called on another thread, after so many seconds. It is for callers that must
    not start a thread themselves. `install_waits` must have been called before."""
    assert _later is not None
    _later.call(delay_s, function)


def _renew_locks() -> None:
    """In a fork, a lock may be held by a thread that the fork does not have."""
    for interrupts in list(_interruptible.values()):
        interrupts._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)


def _absorb(thread: int) -> None:
    """Called on the thread itself: take back an exception that was thrown and is not raised yet.

    Another exception replaces it, and is raised and caught here. (The interpreter also offers to
    replace it by none. But then Python 3.11 and 3.12 go on looking for it at every step: loops of
    all threads are half as slow again, and `sys.settrace` may hang.)
    """
    try:
        raise_in(thread)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        pass
