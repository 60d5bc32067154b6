"""One `sys.stdout` and `sys.stderr` for all sessions, and the run of a cell that a thread belongs
to.

The console stream of a thread knows the run, and threads inherit the stream from the thread that
starts them.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from mpkernel.host import console
from mpkernel.kernel.cell_run import CellRun, SessionOfRun

__all__ = [
    "current_run",
    "install_proxies",
    "is_fork",
    "placed",
    "session_begins",
    "session_is_over",
    "thread_stream",
]

_proxies: tuple[_Proxy, _Proxy] | None = None
_sessions: dict[int, SessionOfRun] = {}
"""By the identity of their namespaces. Each operation on it is atomic."""

_forked: CellRun | None = None
"""In a fork that a session's code made: the run that made it."""


def install_proxies() -> tuple[_Proxy, _Proxy]:
    """Replace `sys.stdout` and `sys.stderr` by proxies; returns them in this order. To be called
    once."""
    global _proxies
    console.install(_Proxy)
    _proxies = cast("tuple[_Proxy, _Proxy]", (sys.stdout, sys.stderr))
    _follow_forks()
    return _proxies


def session_begins(session: SessionOfRun) -> None:
    """From now on, text printed by code with this session's namespace goes to this session."""
    _sessions[id(session.namespace)] = session


def session_is_over(session: SessionOfRun) -> None:
    """The reverse of `session_begins`."""
    del _sessions[id(session.namespace)]


@contextmanager
def placed(cell_run: CellRun) -> Iterator[None]:
    """In this `with`, the calling thread belongs to this run of a cell."""
    assert _proxies is not None
    for proxy, stream in zip(_proxies, cell_run.streams, strict=True):
        proxy.set_stream(stream)
    try:
        yield
    finally:
        for proxy in _proxies:
            proxy.clear_stream()


def current_run() -> CellRun | None:
    """The run of a cell that the calling thread belongs to; None outside of any session."""
    if _forked is not None:
        return _forked
    if _proxies is None:
        return None
    place = getattr(_proxies[0].current(), "place", None)
    return place if isinstance(place, CellRun) else None


def is_fork() -> bool:
    """Whether this process is a fork that a session's code made. It has plain streams."""
    return _forked is not None


@contextmanager
def thread_stream(name: str, target: TextIO) -> Iterator[None]:
    """Send what the calling thread prints to stdout or stderr to `target`."""
    proxies = _proxies
    if proxies is None:
        plain = contextlib.redirect_stdout if name == "stdout" else contextlib.redirect_stderr
        with plain(target):
            yield
        return
    proxy = proxies[0 if name == "stdout" else 1]
    before = proxy.current()
    proxy.set_stream(cast(TextIO, _Redirected(target, getattr(before, "place", None))))
    try:
        yield
    finally:
        proxy.set_stream(before)


class _Proxy(console.ConsoleProxy):
    """Text goes to the calling thread's cell. But the garbage collector may run a `__del__` of one
    session on a thread of another, or of none: its text goes to its own session."""

    def write(self, text: str) -> int:
        return self.write_for(sys._getframe(1).f_globals, text)

    def write_for(self, names: dict[str, Any], text: str) -> int:
        """Write text that was printed by code with the global names `names`."""
        session = _sessions.get(id(names))
        if session is None or session.last_run is None or _forked is not None:
            return super().write(text)
        place = getattr(self.current(), "place", None)
        if isinstance(place, CellRun) and place.session is session:
            return super().write(text)
        return session.last_run.streams[self._name != "<stdout>"].write(text)


class _Redirected(io.TextIOBase):
    """A thread's stream that writes to `target`, and still knows the run that the thread is of."""

    def __init__(self, target: TextIO, place: object) -> None:
        self.place = place
        self._target = target

    def write(self, text: str) -> int:
        return self._target.write(text)

    def flush(self) -> None:
        self._target.flush()

    def writable(self) -> bool:
        return True


def _follow_forks() -> None:
    """Let a forked child, whose console has no sessions, know which run made it."""
    forking: dict[int, CellRun | None] = {}  # by thread

    def before() -> None:
        forking[threading.get_ident()] = current_run()

    def in_child() -> None:
        global _forked
        _forked = forking.get(threading.get_ident())

    os.register_at_fork(
        before=before,
        after_in_parent=lambda: forking.pop(threading.get_ident(), None),
        after_in_child=in_child,
    )
