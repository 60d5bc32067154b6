"""`mpkernel exec APP [ARGS…]`: an app in a process of its own, in the foreground."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Sequence

from mpkernel.server.launching.foreground import ForegroundApp
from mpkernel.server.supervision.exit_status import ExitStatus

__all__ = ["run"]

_USAGE = """\
Usage: mpkernel exec APP [ARGS...]

  Run an app (a Python file) in a process of its own, on its main thread, with this terminal as its
  console and input, as python APP ARGS... does; top-level await works too. The exit code is the
  app's. A crash is reported with the place where it happened.
"""


def run(arguments: Sequence[str]) -> int:
    """Run an app to its end; give its exit code, or end by the signal that ended the app.

    Args:
        arguments: what follows `mpkernel exec`.

    Raises:
        AppNotFound: there is no such file.
        HostStartError: the operating system refused the process.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, end="", file=sys.stdout if arguments else sys.stderr)
        return os.EX_OK if arguments else 2
    app, *argv = arguments
    with ForegroundApp.launch(app, argv) as foreground:
        status = foreground.wait()
        sys.stderr.write(foreground.report(interactive=sys.stderr.isatty()))
        sys.stderr.flush()
    return _end_as(status)


def _end_as(status: ExitStatus) -> int:
    """The app's exit code. If a signal ended the app, this process ends by the same signal, so
    that its parent process sees how the app ended."""
    number = status.signal
    if number is None:
        return status.code or 0
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the app has written its own core file
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number
