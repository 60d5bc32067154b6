"""The entry of the embedded kernel, and what it replaces in its process, once.

`run` is the entry that a `KernelSpec` names. It replaces `sys.modules["__main__"]`, `sys.stdout`,
`sys.stderr`, `print`, `input`, `getpass.getpass`, the waits that an interrupt must stop, and the
data that spawned processes are prepared with. Each replacement looks like the original. On a thread
of a session it acts for that session; on every other thread it does what the original does.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from mpkernel.host import descriptors
from mpkernel.host.import_path import put_first
from mpkernel.host.kernel import hosted_half
from mpkernel.interrupts.sending import install_waits
from mpkernel.kernel import context
from mpkernel.kernel.cell_run import CellRun
from mpkernel.kernel.code.namespace import Namespace, install_main
from mpkernel.kernel.process import proxies
from mpkernel.kernel.process.asking import install_input
from mpkernel.kernel.process.debugger import install_debugger
from mpkernel.kernel.process.printing import install_print
from mpkernel.kernel.process.session_streams import StreamOfSession, install_sys_streams
from mpkernel.kernel.process.spawning import install_spawning
from mpkernel.kernel.session import PythonSession
from mpkernel.kernel.shown.flusher import start_flusher

if TYPE_CHECKING:
    from mpkernel.host.hosted_kernel import HostedKernel
    from mpkernel.host.kernel import Kernel
    from mpkernel.wire.messages import ConsoleText

__all__ = ["run"]

_lock = threading.Lock()
_is_prepared = False  # guarded by _lock
_sessions: dict[int, PythonSession] = {}
"""By the number that a session has on the wire. Each operation on it is atomic."""

_runs = descriptors.Runs()


def run(given: Kernel) -> None:
    """Run the embedded kernel for one session until it is closed."""
    kernel = hosted_half(given)
    _prepare_process(kernel)
    session = PythonSession(kernel, _in_place)
    proxies.session_begins(session)
    _sessions[kernel.number] = session
    try:
        session.serve()
    finally:
        proxies.session_is_over(session)
        del _sessions[kernel.number]


def _prepare_process(kernel: HostedKernel) -> None:
    global _is_prepared
    with _lock:
        if _is_prepared:
            return
        put_first(os.path.dirname(os.path.realpath(kernel.app)))  # the same as `python APP` does
        both = proxies.install_proxies()
        install_waits()
        install_main(_current_namespace)
        install_sys_streams(_current_stream)
        install_print(both)
        install_input(_run_with_client)
        install_spawning(lambda: proxies.current_run() is not None)
        install_debugger()
        if sys.version_info >= (3, 14):
            # Loaded now: tracebacks need it, also when no descriptor is left to load it.
            importlib.import_module("_colorize")
        context.set_finder(proxies.current_run)
        start_flusher()  # before the dispatcher, which must not wait for a thread's start
        descriptors.bring_back(kernel, _take_text)
        _is_prepared = True


def _in_place(cell_run: CellRun, body: Callable[[], None]) -> None:
    number = cell_run.session.kernel.number
    with proxies.placed(cell_run), _runs.running(number, cell_run.cell):
        body()


def _take_text(text: ConsoleText) -> None:
    """Runs on the dispatcher's thread, so it must return at once."""
    ran = _runs.alone_at(text.read_at_s)
    session = _sessions.get(ran.session) if ran is not None else None
    if ran is not None and session is not None:
        session.console.offer(text.stream, ran.cell, text.text)


def _current_namespace() -> Namespace | None:
    cell_run = proxies.current_run()
    return cell_run.session.namespace if cell_run is not None else None


def _run_with_client() -> CellRun | None:
    """The calling thread's run of a cell. None in a fork, and outside of any session: no client."""
    return None if proxies.is_fork() else proxies.current_run()


def _current_stream(name: str) -> StreamOfSession | None:
    cell_run = _run_with_client()
    return cell_run.session.standard_streams[name] if cell_run is not None else None
