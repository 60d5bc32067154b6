"""The entry of the embedded kernel, and what it changes in its process, once.

`run` is the entry that a `KernelSpec` names. What is replaced tells sessions apart by thread and is
what it was to every other thread, and cannot be told from it: `sys.modules["__main__"]`,
`sys.stdout`, `sys.stderr`, `print`, `input`, `getpass.getpass`, the waits that an interrupt must
reach, and what spawned processes are prepared with.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import inspect
import io
import linecache
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from mpkernel.host import console, descriptors
from mpkernel.host.import_path import put_first
from mpkernel.kernel import context
from mpkernel.kernel.builtins_like import builtin_like
from mpkernel.kernel.cell_run import CellRun
from mpkernel.kernel.debugger import install_debugger
from mpkernel.kernel.flusher import start_flusher
from mpkernel.kernel.interrupts import install_waits
from mpkernel.kernel.namespace import Namespace, install_main
from mpkernel.kernel.printing import install_print
from mpkernel.kernel.session import PythonSession
from mpkernel.kernel.spawning import install_spawning
from mpkernel.kernel.sysstreams import StreamOfSession, install_sys_streams

if TYPE_CHECKING:
    from mpkernel.host.kernels import Kernel
    from mpkernel.wire.messages import ConsoleText

__all__ = ["run", "thread_stream"]

_lock = threading.Lock()
_proxies: tuple[_Proxy, _Proxy] | None = None
_sessions: dict[int, PythonSession] = {}
"""By the identity of their namespaces; single operations, each one atomic."""

_sessions_by_number: dict[int, PythonSession] = {}
"""The same, by the number that a session has on the wire."""

_runs = descriptors.Runs()

_forked: CellRun | None = None
"""In a fork of a session: the run that forked."""


def run(kernel: Kernel) -> None:
    """Run the embedded kernel for one session until it is closed."""
    _prepare_process(kernel)
    session = PythonSession(kernel, _in_place)
    _sessions[id(session.namespace)] = _sessions_by_number[kernel.number] = session
    try:
        session.serve()
    finally:
        del _sessions[id(session.namespace)], _sessions_by_number[kernel.number]


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
    """Text of the calling thread's cell; but of the code's own session, where the garbage collector
    runs a `__del__` of one session on a thread of another, or of none."""

    def write(self, text: str) -> int:
        return self.write_for(sys._getframe(1).f_globals, text)

    def write_for(self, names: dict[str, Any], text: str) -> int:
        """Write text that code with these globals prints."""
        session = _sessions.get(id(names))
        if session is None or session.last_run is None or _forked is not None:
            return super().write(text)
        place = getattr(self.current(), "place", None)
        if isinstance(place, CellRun) and place.session is session:
            return super().write(text)
        return session.last_run.streams[self._name != "<stdout>"].write(text)


class _Redirected(io.TextIOBase):
    """A thread's stream that is `target`, and still says whose the thread is."""

    def __init__(self, target: TextIO, place: object) -> None:
        self.place = place
        self._target = target

    def write(self, text: str) -> int:
        return self._target.write(text)

    def flush(self) -> None:
        self._target.flush()

    def writable(self) -> bool:
        return True


def _prepare_process(kernel: Kernel) -> None:
    global _proxies
    with _lock:
        if _proxies is not None:
            return
        put_first(os.path.dirname(os.path.realpath(kernel.app)))  # as `python APP` does
        console.install(_Proxy)
        proxies = cast("tuple[_Proxy, _Proxy]", (sys.stdout, sys.stderr))
        install_waits()
        install_main(_current_namespace)
        install_sys_streams(_current_stream)
        install_print(proxies)
        _install_input()
        install_spawning(lambda: _current_run() is not None)
        install_debugger()
        _follow_forks()
        linecache.cache.pop("<string>", None)  # 3.13 shows a process's `-c` in tracebacks of exec
        context.set_finder(_current_run)
        start_flusher()  # before the dispatcher, which must not wait for a thread's start
        descriptors.bring_back(kernel, _take_text)
        _proxies = proxies


def _in_place(cell_run: CellRun, body: Callable[[], None]) -> None:
    assert _proxies is not None
    for proxy, stream in zip(_proxies, cell_run.streams, strict=True):
        proxy.set_stream(stream)
    try:
        with _runs.running(cell_run.session.kernel.number, cell_run.cell):
            body()
    finally:
        for proxy in _proxies:
            proxy.clear_stream()


def _take_text(text: ConsoleText) -> None:
    """On the dispatcher's thread: must return at once."""
    ran = _runs.alone_at(text.read_at_s)
    session = _sessions_by_number.get(ran.session) if ran is not None else None
    if ran is not None and session is not None:
        session.console.offer(text.stream, ran.cell, text.text)


def _current_run() -> CellRun | None:
    if _forked is not None:
        return _forked
    if _proxies is None:
        return None
    place = getattr(_proxies[0].current(), "place", None)
    return place if isinstance(place, CellRun) else None


def _follow_forks() -> None:
    """Let a forked child, whose console has no sessions, know whose child it is."""
    forking: dict[int, CellRun | None] = {}  # by thread

    def before() -> None:
        forking[threading.get_ident()] = _current_run()

    def in_child() -> None:
        global _forked
        _forked = forking.get(threading.get_ident())

    os.register_at_fork(
        before=before,
        after_in_parent=lambda: forking.pop(threading.get_ident(), None),
        after_in_child=in_child,
    )


def _current_namespace() -> Namespace | None:
    cell_run = _current_run()
    return cell_run.session.namespace if cell_run is not None else None


def _current_stream(name: str) -> StreamOfSession | None:
    if _forked is not None:
        return None  # it has plain streams of its own
    cell_run = _current_run()
    return cell_run.session.standard_streams[name] if cell_run is not None else None


def _install_input() -> None:
    import getpass

    plain_input, plain_getpass = builtins.input, getpass.getpass

    def asked_input(*args: Any, **options: Any) -> str:
        cell_run = _current_run()
        if cell_run is None or cell_run is _forked or options or len(args) > 1:
            return plain_input(*args, **options)
        prompt = str(args[0]) if args else ""
        return cell_run.session.ask(prompt, secret=False, cell=cell_run.cell)

    @functools.wraps(plain_getpass)
    def asked_getpass(*args: Any, **options: Any) -> str:
        cell_run = _current_run()
        if cell_run is None or cell_run is _forked:
            return plain_getpass(*args, **options)
        try:
            given = inspect.signature(plain_getpass).bind(*args, **options)
        except TypeError:
            return plain_getpass(*args, **options)  # its own error
        given.apply_defaults()
        return cell_run.session.ask(given.arguments["prompt"], secret=True, cell=cell_run.cell)

    builtins.input = builtin_like(plain_input, asked_input)
    for name in ("getpass", plain_getpass.__name__):  # which pickle looks it up by
        setattr(getpass, name, asked_getpass)
