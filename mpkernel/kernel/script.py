"""An app as the main program of a process: what `python app.py` does, and top-level `await`.

There is no session here, no thread of mpkernel's, and no stream but the process's own: the app
alone uses the main thread, the standard descriptors and the interpreter's exit. The launching
process learns three things: how this one ended, from the system; what `faulthandler` wrote; and
whether the interpreter ran to its end (`program.ENDED`), or was cut short by `os._exit` or the
like.
"""

from __future__ import annotations

import atexit
import faulthandler
import functools
import os
import signal
import sys
from importlib.machinery import SourceFileLoader
from types import TracebackType
from typing import Any

from mpkernel.kernel import context
from mpkernel.kernel.code.cells import future_flags, split
from mpkernel.kernel.code.decoding import decoded
from mpkernel.kernel.code.namespace import new_namespace
from mpkernel.kernel.code.runner import awaited, compile_cell, of_user
from mpkernel.process_tree import exists
from mpkernel.program import ENDED

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main(
    app: str,
    argv: list[str],
    import_path: list[str] | None,
    mask: list[int],
    faults_fd: int,
    launcher_pid: int,
    confinement: str | None = None,
) -> int:
    """Run an app to its end. Returns the exit code.

    Args:
        app: the app's file, as the user named it.
        argv: its arguments.
        import_path: `sys.path` after the app's own folder. None for what this Python has.
        mask: the signals to block: those that were blocked when `mpkernel exec` was started.
        faults_fd: a file, for `faulthandler` and `ENDED`.
        launcher_pid: the launching process: when it ends, this one ends too. Linux only.
        confinement: what the app may do, a `Confinement` as JSON; None: all that its user may.

    Raises:
        BaseException: what the app raised. The interpreter ends with it as it always does, and
            prints it without mpkernel's frames.
    """
    faulthandler.enable(file=faults_fd, all_threads=True)
    os.set_inheritable(faults_fd, False)
    _die_with(launcher_pid)
    atexit.register(_tell_end, faults_fd, os.fstat(faults_fd), os.getpid())
    if confinement is not None and not _confine(confinement):
        return os.EX_UNAVAILABLE
    sys.argv = [app, *argv]
    path = sys.path if import_path is None else import_path
    sys.path[:] = [os.path.dirname(os.path.realpath(app)), *path]
    namespace = _main_namespace(os.path.abspath(app))
    context.set_finder(_place)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # a Ctrl-C that came before is raised here
        _run(app, namespace)
    except BaseException as error:
        _leave_us_out(error, of_user(error.__traceback__, namespace["__file__"]))
        raise
    return 0


def _confine(confinement: str) -> bool:
    """Give up the rights that the app must not have, before anything of it is read. Returns whether
    the app may run. If it may not, or if some rights could not be given up, the user is told."""
    import msgspec  # these are imported here: few apps are confined

    from mpkernel.confinement.confining import confine
    from mpkernel.errors import ConfinementError
    from mpkernel.wire.confinement import Confinement

    try:
        lacking = confine(msgspec.json.decode(confinement, type=Confinement))
    except ConfinementError as error:
        sys.stderr.write(f"mpkernel: {error}\n")
        return False
    if lacking:
        sys.stderr.write(f"mpkernel: the app is confined less than it should be: {lacking}\n")
    return True


@functools.cache
def _place() -> context.Place:
    from mpkernel.kernel.shown.terminal import TerminalPlace  # here: most apps show nothing

    return TerminalPlace(os.path.basename(sys.argv[0]))


def _run(app: str, namespace: dict[str, Any]) -> None:
    filename = namespace["__file__"]
    with open(app, "rb") as file:
        source = decoded(file.read(), filename)
    cells = split(source)
    flags = future_flags(cells)
    compiled = [compile_cell(cell, filename, flags=flags) for cell in cells]
    for cell in compiled:
        if not cell.awaits:
            for code in cell.codes:
                eval(code, namespace)
            continue
        import asyncio  # imported here: few apps await

        with asyncio.Runner() as runner:
            runner.run(awaited(cell, namespace))


def _main_namespace(filename: str) -> dict[str, Any]:
    """The namespace of `__main__`, as a script finds it: without the command that started us."""
    namespace: dict[str, Any] = vars(sys.modules["__main__"])
    namespace.clear()
    namespace.update(new_namespace(filename), __loader__=SourceFileLoader("__main__", filename))
    return namespace


def _leave_us_out(error: BaseException, frames: TracebackType | None) -> None:
    """Have the interpreter print this exception with the frames `frames` only."""
    hook = sys.excepthook

    def tell(kind: type[BaseException], value: BaseException, _: TracebackType | None) -> None:
        sys.excepthook = hook
        error.__traceback__ = sys.last_traceback = frames
        hook(kind, value, frames)

    sys.excepthook = tell


def _tell_end(faults_fd: int, file: os.stat_result, pid: int) -> None:
    """Write `ENDED`, unless the app has closed the descriptor: its number may be that of a file of
    the app's then."""
    if os.getpid() != pid:  # the end of a fork is not the end of this program
        return
    try:
        is_ours = os.path.samestat(os.fstat(faults_fd), file)
    except OSError:
        return
    if is_ours:
        os.write(faults_fd, ENDED)


def _die_with(launcher_pid: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher_pid and not exists(launcher_pid):  # else there is a wrapper
            os._exit(1)
