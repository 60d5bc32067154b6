"""Raising a KeyboardInterrupt in another thread, at a moment when it harms no other session.

A process has one set of modules and of module-level locks for all its sessions. An exception that
ends a session in the middle of a change to these leaves them broken for every other one. So the
whole stack of the thread is looked at first, and no exception is raised while one of its frames

- imports, or waits for another thread's import (a module that is left half-way cannot always be
  imported again);
- may hold a lock that no `with` and no `finally` would release (see `half_done`);
- has set a global variable of a module and is not at its end (it may be half-way through what is
  done once in a process);
- leaves a `with` block, or is a `__del__`, where exceptions are lost;

and while the innermost one is in a module whose short steps belong together, `queue` for example:
another thread would wait for ever for an item that was put but not announced. Waits are the
exception, where they leave no step half-done (`waits`): there only the frames below them decide.

Between the check of the stack and the exception the thread must not move. The interpreter raises
the exception where the thread gave up the GIL, or before the next step from there (see `landing`),
or when the C call returns that the thread is in. The check takes many steps of Python, and
between them the thread may have had the GIL and gone on. So the last step is one call in C, which
does not give up the GIL: it compares the innermost frame and its instruction with those that were
checked, and has the exception raised only if they are the same. As long as the innermost frame has
not moved, the frames below it have not.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import operator
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from mpkernel.interrupts.half_done import has_set_a_global, is_entering_a_with, may_hold_a_lock
from mpkernel.interrupts.landing import LANDS_LATE, at_any_place, at_next_step, next_steps

__all__ = ["is_ending", "is_importing", "raise_in", "throw", "WAITING_CODE"]

WAITING_CODE: set[CodeType] = {
    function.__code__
    for function in (
        threading.Thread.join,
        getattr(threading.Thread, "_wait_for_tstate_lock", None),  # Python 3.11 and 3.12
    )
    if function is not None
}
"""The code of waits in which an exception does no harm. Whoever makes such waits adds to it."""

_WAIT = threading.Condition.wait.__code__
"""`Condition.wait` leaves its lock as it found it, however the wait ends that it calls."""

_IMPORTERS = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
_LEAVES = frozenset({"__exit__", "__aexit__", "__del__"})
_SHORT_STEPS = frozenset(
    {
        "_weakrefset",
        "asyncio",
        "concurrent",
        "contextlib",
        "functools",
        "mpkernel",
        "queue",
        "shm",
        "threading",
        "weakref",
    }
)
"""Modules and packages whose own code never runs for long; what they call may."""

_WRITES_FOR_LONG = "mpkernel.host.console"
"""The exception: code that prints all the time gives up the GIL only inside these writes, and could
never be stopped otherwise."""

_COLLECTS_ANYWHERE = sys.version_info < (3, 12)
_no_collection_lock = threading.RLock()  # a collection may come before it is off
_is_collection_off = False  # by us; guarded by _no_collection_lock

_set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_exception.argtypes = [ctypes.c_ulong, ctypes.py_object]


def throw(thread: int, was_cancelled: Callable[[], bool] | None = None) -> bool:
    """Have a KeyboardInterrupt raised in a thread, where it is now, or when the C call returns that
    it is in. Returns False when that would do harm, or is not needed: the caller tries again later.

    Args:
        thread: its ident.
        was_cancelled: where the thread's event loop was told to cancel its task: tells whether it
            has done so. No exception is needed then, nor while the loop sleeps: what told it wakes
            it. Default: no loop was told.
    """
    top = _top_of(thread)
    if top is None:
        return False
    instruction = top.f_lasti
    # Asked after the look at the frame: if the loop cancels the task later, the frame has moved.
    if was_cancelled is not None and (was_cancelled() or _sleeps_in_its_loop(top)):
        return False
    if _would_harm(top):
        return False
    at_next_step(thread, top.f_code)
    is_thrown = _throw_if_still_at(thread, top, instruction)
    if not is_thrown:
        at_any_place(thread)
    return is_thrown


def raise_in(thread: int) -> None:
    """Have a KeyboardInterrupt raised in a thread soon, wherever it is."""
    _set_exception(thread, KeyboardInterrupt)


def is_importing(thread: int) -> bool:
    """Whether a thread imports a module, or waits until another thread has imported it."""
    frame = _top_of(thread)
    while frame is not None:
        if frame.f_code.co_filename in _IMPORTERS:
            return True
        frame = frame.f_back
    return False


def is_ending(thread: int) -> bool:
    """Whether code that was interrupted, or cancelled, is ending because of that: it is in an
    `except` or `finally` block, or in an `__exit__`."""
    with _without_collection():
        current: Any = sys._current_exceptions().get(thread)
    error: BaseException | None = current[1] if isinstance(current, tuple) else current
    while error is not None:
        if isinstance(error, _ends()):
            return True
        error = error.__context__
    return False


def _throw_if_still_at(thread: int, top: FrameType, instruction: int) -> bool:
    """Everything happens in one call, `all`, of functions in C: no other thread runs meanwhile."""
    frames = map(operator.call, [sys._current_frames])
    is_still_top = map(operator.is_, map(dict.get, frames, [thread]), [top])
    is_still_there = map(operator.eq, map(operator.attrgetter("f_lasti"), [top]), [instruction])
    is_thrown = map(_set_exception, [thread], [KeyboardInterrupt])
    with _without_collection():
        return all(itertools.chain(is_still_top, is_still_there, is_thrown))


def _top_of(thread: int) -> FrameType | None:
    """The innermost frame of a thread."""
    with _without_collection():
        return sys._current_frames().get(thread)


@contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage is collected in this `with`. While Python 3.11 looks at the threads, it holds a
    lock of the interpreter and makes objects. A collection there would wait for that same lock, for
    ever, and no thread would run any more (https://github.com/python/cpython/issues/106883). Later
    versions collect only between two steps of bytecode."""
    global _is_collection_off
    if not _COLLECTS_ANYWHERE:
        yield
        return
    with _no_collection_lock:
        if not gc.isenabled():  # the user's code has disabled it
            yield
            return
        _is_collection_off = True
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            _is_collection_off = False


def _collect_again() -> None:
    """In a fork, which may have been made inside of such a `with`."""
    global _no_collection_lock, _is_collection_off
    _no_collection_lock = threading.RLock()
    if _is_collection_off:
        _is_collection_off = False
        gc.enable()


os.register_at_fork(after_in_child=_collect_again)


def _would_harm(top: FrameType) -> bool:
    frame: FrameType | None = top
    if top.f_code in WAITING_CODE:
        while frame is not None and (frame.f_code in WAITING_CODE or frame.f_code is _WAIT):
            frame = frame.f_back
    elif _is_short_step(top):
        return True
    if frame is top and _would_harm_at_its_place(top):
        return True
    while frame is not None:
        if (
            frame.f_code.co_filename in _IMPORTERS
            or frame.f_code.co_name in _LEAVES
            or _has_begun(frame, frame.f_lasti, calls_in_c=frame is top)
        ):
            return True
        frame = frame.f_back
    return False


def _would_harm_at_its_place(top: FrameType) -> bool:
    """What matters for the innermost frame only: the call in C that it is in, and its next step."""
    offset = top.f_lasti
    if is_entering_a_with(top.f_code, offset):
        return True
    steps = next_steps(top.f_code, offset) if LANDS_LATE else ()
    return any(_has_begun(top, step, calls_in_c=False) for step in steps)


def _has_begun(frame: FrameType, offset: int, *, calls_in_c: bool) -> bool:
    code = frame.f_code
    return may_hold_a_lock(code, offset, calls_in_c=calls_in_c) or (
        has_set_a_global(code, offset) and _is_shared(frame)
    )


def _is_short_step(frame: FrameType) -> bool:
    module = _module_of(frame)
    return module.partition(".")[0] in _SHORT_STEPS and module != _WRITES_FOR_LONG


def _sleeps_in_its_loop(top: FrameType) -> bool:
    """Whether the thread waits in the `select` of its event loop, and no other loop runs within
    that one, which nobody would wake."""
    loop: FrameType | None = top
    while loop is not None and (loop.f_code in WAITING_CODE or _module_of(loop) == "selectors"):
        loop = loop.f_back
    if loop is None or loop is top or not _is_turn(loop):
        return False
    outer = loop.f_back
    while outer is not None and not _is_turn(outer):
        outer = outer.f_back
    return outer is None


def _is_turn(frame: FrameType) -> bool:
    """Whether this is a turn of an event loop of asyncio."""
    return frame.f_code.co_name == "_run_once"


def _is_shared(frame: FrameType) -> bool:
    """Whether the frame's global variables are those of a module that all sessions see. The
    module of a session's own code is named `__main__`."""
    name = _module_of(frame)
    module = sys.modules.get(name) if name != "__main__" else None
    return module is not None and vars(module) is frame.f_globals


def _module_of(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name if isinstance(name, str) else ""


def _ends() -> tuple[type[BaseException], ...]:
    asyncio = sys.modules.get("asyncio.exceptions")  # not imported here: a host may not need it
    return (KeyboardInterrupt,) if asyncio is None else (KeyboardInterrupt, asyncio.CancelledError)
