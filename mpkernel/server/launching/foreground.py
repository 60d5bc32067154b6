"""An app as the program in the foreground: for `mpkernel exec`.

The app's process has the standard descriptors of its launcher, and is in the same process group. So
a terminal's Ctrl-C, Ctrl-\\ and Ctrl-Z reach it as they reach any program. A signal that somebody
sends to the launcher alone is sent on to the app. There are no Pipes: see `kernel.script`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Self

from mpkernel.errors import AppNotFound, HostStartError
from mpkernel.program import ENDED, MainProgram
from mpkernel.server.launching.interpreter import other_start_error, start_error
from mpkernel.server.launching.launch import launch, launch_other
from mpkernel.server.launching.other_python import Call, OtherPython
from mpkernel.server.supervision.exit_status import ExitStatus, OutOfMemory

__all__ = ["ForegroundApp"]

_ENTRY = "mpkernel.kernel.script:main"

_HANDED_ON = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_OF_OUR_OWN = ("/mpkernel/", "/multiprocessing/spawn.py", '"<string>"')
_REPORT_BYTES = 64 * 1024


class ForegroundApp:
    """A process that runs an app in the place of its launcher. It is made by `launch`, on the main
    thread; then call `wait`.

    Attributes:
        name: the app, as its user named it.
        pid: its process id.
        status: how it ended; None until `wait` returned.
    """

    def __init__(
        self,
        name: str,
        child: subprocess.Popen[bytes],
        faults: IO[bytes],
        mask: set[int],
    ) -> None:
        self.name = name
        self.pid = child.pid
        self.status: ExitStatus | None = None
        self._child = child
        self._faults = faults
        self._mask = mask
        self._oom = OutOfMemory()
        self._largest_bytes = 0

    @classmethod
    def launch(
        cls,
        app: str,
        argv: Sequence[str] = (),
        python: OtherPython | None = None,
        confinement: str | None = None,
    ) -> Self:
        """Start an app. From this call to the end of `wait`, signals are blocked in the calling
        thread.

        Args:
            app: its file, as the user named it.
            argv: its arguments.
            python: what runs it; it is closed here. Default: the launcher's Python.
            confinement: what it may do, a `Confinement` as JSON. Default: all that its user may.

        Raises:
            AppNotFound: there is no such file.
            HostStartError: the operating system refused.
        """
        if not os.path.isfile(app):
            raise AppNotFound(f"there is no app {app}", remedy="check the path")
        faults = tempfile.TemporaryFile(prefix="mpkernel-", buffering=0)  # noqa: SIM115 (kept)
        mask = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, _watched())}
        path = sys.path[0 if sys.flags.safe_path else 1 :] if python is None else None
        fd = faults.fileno()
        arguments = (app, list(argv), path, sorted(mask), fd, os.getpid(), confinement)
        stdio = (None, None, None)
        try:
            if python is None:
                child = launch(
                    os.path.basename(app),
                    MainProgram(_ENTRY, *arguments),
                    descriptors=(fd,),
                    stdio=stdio,
                    own_session=False,
                )
            else:
                child = launch_other(
                    python,
                    Call(_ENTRY, arguments),
                    descriptors=(fd,),
                    stdio=stdio,
                    own_session=False,
                )
        except (OSError, HostStartError) as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            faults.close()
            if isinstance(error, HostStartError):
                raise
            if python is not None:
                raise other_start_error(app, error, python.path) from error
            raise start_error(app, error) from error
        return cls(app, child, faults, mask)

    def wait(self) -> ExitStatus:
        """Wait for the app's end, and meanwhile send signals on to it."""
        while (status := self._ended()) is None:
            if hasattr(signal, "sigwaitinfo"):
                came = signal.sigwaitinfo(_watched())
                number, by_terminal = came.si_signo, came.si_code > 0
            else:
                # The sender is unknown here. Take SIGINT as sent by the terminal, at Ctrl-C.
                number = signal.sigwait(_watched())
                by_terminal = number == signal.SIGINT
            if number in _HANDED_ON and not by_terminal:
                os.kill(self.pid, number)  # not reaped yet, so the process id is still the app's
        self.status = status
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        return status

    def report(self, *, interactive: bool) -> str:
        """What the user should know about the app's end; empty if there is nothing to say.

        Args:
            interactive: whether to mention also an exit that the app may have wanted.
        """
        assert self.status is not None
        self._faults.seek(0)
        written = self._faults.read(_REPORT_BYTES)
        if self.status.signal in (None, signal.SIGINT):
            if written.endswith(ENDED) or not self.status.code or not interactive:
                return ""
            return (
                f"mpkernel: {self.name} {self.status} by itself, past the interpreter's own exit"
                " (os._exit, or a library in C)\n"
            )
        lines = [f"mpkernel: {self.name} {self.status}{self._of_memory()}"]
        lines += _of_users(written.replace(ENDED, b"").decode("utf-8", "replace"))
        return "\n".join(lines) + "\n"

    def close(self) -> None:
        """End the app if it still runs, restore the signal mask, and close the file. Idempotent."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self._faults.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ended(self) -> ExitStatus | None:
        pid, waited, usage = os.wait4(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        scale = 1 if sys.platform == "darwin" else 1024
        self._largest_bytes = usage.ru_maxrss * scale
        code = os.waitstatus_to_exitcode(waited)
        self._child.returncode = code
        return ExitStatus(code)

    def _of_memory(self) -> str:
        assert self.status is not None
        if self.status.signal != signal.SIGKILL:
            return ""
        size = f"it took {self._largest_bytes / 2**20:.0f} MiB"
        if self._oom.happened():
            return f": memory had run out, {size}"
        return f", by somebody or for lack of memory: {size}"


def _watched() -> set[int]:
    return {*_HANDED_ON, signal.SIGCHLD}


def _of_users(faults: str) -> list[str]:
    """faulthandler's lines, without those of our own frames."""
    return [
        line
        for line in faults.splitlines()
        if not (line.startswith("  File ") and any(own in line for own in _OF_OUR_OWN))
    ]
