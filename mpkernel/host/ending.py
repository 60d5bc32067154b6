"""How a host ends.

    in order   hooks ─▶ kernels ─▶ threads ─▶ atexit ─▶ children ─▶ the interpreter's own end
    at once    hooks ─▶ children ─▶ the end, by SIGKILL to its group

In order it ends when its server asks for it: it is retired, drained or restarted, or the server
itself ends in order. Then user code gets what Python gives to any program at its end, in Python's
own order: threads that are not daemons are waited for, `atexit` runs (and with it
`logging.shutdown` and the finalizers of temporary directories), files are flushed, modules are
cleared.

Each of these steps runs user code, which may hang. So kernels and threads each have a third of the
time that the server grants. When all of that time is over, an alarm ends the process, unless the
server has killed it by then. If a thread still runs, the interpreter does not end in its own order,
which could crash that thread: files are flushed, and the process exits.

At once it ends when the server is gone, or does not follow the protocol. Then nobody else would end
the processes that user code has started.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol

from mpkernel.host.tracker import end_resource_tracker
from mpkernel.late_logger import late_logger
from mpkernel.own_clock import monotonic, sleep
from mpkernel.process_tree import Identity, kill_descendants, stat_of

__all__ = ["Endable", "at_leave", "leave_at_once", "leave_in_order"]

logger = late_logger(__name__)

_LOOK_S = 0.005
_ALARM_AFTER_S = 1.0
_REAPED_WITHIN_S = 0.25

_leaving = threading.Lock()
_leave_hooks: list[Callable[[], None]] = []


class Endable(Protocol):
    """The kernels of a host: what is needed to end them."""

    def end_all(self) -> None:
        """Ask every kernel to end, and drop what they send from now on."""
        ...

    def run_due(self) -> bool:
        """Interrupt the kernels whose time for it has come. Returns whether any still runs."""
        ...


class _TooLong(BaseException):
    """Raised on the main thread when it has waited long enough for the other threads."""


def at_leave(hook: Callable[[], None]) -> None:
    """Have `hook` called before the host ends, on any thread. It must not wait."""
    _leave_hooks.append(hook)


def leave_in_order(kernels: Endable | None, grace_s: float) -> NoReturn:
    """End the process as Python ends. On the main thread.

    Args:
        kernels: those of the host; None before it has any.
        grace_s: how long all of it may take.

    Raises:
        SystemExit: for the interpreter's own end, which is the last step.
    """
    began_s = monotonic()
    _run_leave_hooks()
    is_alone = kernels is None or _end_kernels(kernels, grace_s / 3)
    is_alone = _end_threads(grace_s / 3) and is_alone
    left_s = began_s + grace_s - monotonic()
    signal.setitimer(signal.ITIMER_REAL, max(left_s, 0.0) + _ALARM_AFTER_S)
    atexit._run_exitfuncs()
    _reap(kill_descendants(os.getpid()).processes)
    end_resource_tracker()
    if is_alone:
        raise SystemExit(0)
    _flush_files()
    os._exit(0)


def leave_at_once() -> NoReturn:
    """End the process and all that user code started. From any thread."""
    _run_leave_hooks()
    kill_descendants(os.getpid())
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _run_leave_hooks() -> None:
    if not _leaving.acquire(blocking=False):
        threading.Event().wait()  # another thread is already ending the whole process
    for hook in _leave_hooks:
        try:
            hook()
        except Exception:  # the next hook must still release what it holds
            logger.exception("a hook at the host's end failed pid=%d", os.getpid())
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # nobody reads its pipe any more, or user code has closed it
            continue


def _end_kernels(kernels: Endable, within_s: float) -> bool:
    deadline_s = monotonic() + within_s
    kernels.end_all()
    while kernels.run_due():
        if monotonic() > deadline_s:
            return False
        sleep(_LOOK_S)
    return True


def _end_threads(within_s: float) -> bool:
    """Wait for threads that are not daemons, and for those of `concurrent.futures`."""
    try:
        with _raising_after(within_s):
            threading._shutdown()  # type: ignore[attr-defined]
    except _TooLong:
        return False
    return True


@contextmanager
def _raising_after(seconds: float) -> Iterator[None]:
    """Raise `_TooLong` inside this `with`, on the main thread, after so many seconds."""

    def too_long(*_: object) -> NoReturn:
        raise _TooLong

    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, _LOOK_S))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _reap(killed: set[Identity]) -> None:
    """Take the exit statuses of all children that have ended. Their next parent may never do it:
    the first process of a container often does not."""
    deadline_s = monotonic() + _REAPED_WITHIN_S
    try:
        while any(stat_of(one.pid) for one in killed) and monotonic() < deadline_s:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                sleep(_LOOK_S)
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            continue
    except ChildProcessError:  # there are no children
        return


def _flush_files() -> None:
    """Write what is still buffered in files that user code has left open."""
    for one in gc.get_objects():
        if not issubclass(type(one), io.TextIOWrapper | io.BufferedWriter | io.BufferedRandom):
            continue
        try:
            one.flush()
        except Exception as error:  # noqa: BLE001 (a full disk, a closed file, a class of the app)
            logger.debug("a file was not flushed: %r", error)
