"""`mpkernel exec [OPTIONS] APP [ARGS…]`: an app in a process of its own, in the foreground."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from mpkernel.cli.parsers import similar
from mpkernel.configuration.names import flag_of
from mpkernel.configuration.values import expected, from_text
from mpkernel.errors import AppNotFound, ConfinementError, MPKernelError, SettingsError
from mpkernel.reaching import HOW_TO_REACH, why_unreachable
from mpkernel.server.hosts.private_folders import PrivateFolders, confinement_of
from mpkernel.server.launching.foreground import ForegroundApp
from mpkernel.server.launching.other_python import OtherPython
from mpkernel.server.launching.python_of_app import python_of_app
from mpkernel.server.supervision.exit_status import ExitStatus
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec

__all__ = ["USAGE", "run"]

_SANDBOX = "--sandbox"
_WITH_VALUE = {
    flag_of(name): name
    for name in ("python", "confine", "confine_read", "confine_write", "confine_connect")
}
_NO_ENTRY = "mpkernel.kernel.script:main"

USAGE = """\
Usage: mpkernel exec [--python PYTHON] [--sandbox] [--confine LEVEL] APP [ARGS...]

  Run an app (a Python file) in a process of its own, on its main thread, with this terminal as its
  console and input, as python APP ARGS... does; top-level await works too. The exit code is the
  app's. A crash is reported with the place where it happened.

  --python PYTHON  run it with another Python: the path of its program, or of the folder of a
                   virtual environment; it needs msgspec there
  --sandbox        run it with the packages that its header names (PEP 723), in an environment that
                   uv makes (mpkernel docs sandboxes); an app without a header runs as without this
                   option
  --confine LEVEL  files: it can read only Python, libraries and the files in its own folder, write
                   only to temporary folders of its own, and reach no other process; strict: in
                   addition it has no network, and limits (mpkernel docs security)
  --confine-read PATHS, --confine-write PATHS, --confine-connect PORTS
                   exceptions from --confine: lists with commas

examples:
  mpkernel exec report.py --year 2026            as python report.py --year 2026
  mpkernel exec --sandbox report.py              with the packages of its header
  mpkernel exec --python .venv/bin/python report.py
  mpkernel exec --confine strict --confine-read /srv/data unknown.py
"""


def run(arguments: Sequence[str]) -> int:
    """Run an app to its end; give its exit code, or end by the signal that ended the app.

    Args:
        arguments: what follows `mpkernel exec`.

    Raises:
        AppNotFound: there is no such file.
        SettingsError: an option has an impossible value.
        SandboxError: the environment of the app could not be made.
        UnfitPython: what is named is not a Python.
        ConfinementError: a path that the app may use cannot be told to its process.
        HostStartError: the operating system refused the process.
    """
    settings, given = _options(list(arguments))
    if not given or given[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if given else sys.stderr)
        return os.EX_OK if given else 2
    app, *argv = given
    try:
        python = _python_for(app, settings)
    except KeyboardInterrupt:
        return _end_as(ExitStatus(-signal.SIGINT))
    with (
        _confined(app, settings) as confinement,
        ForegroundApp.launch(app, argv, python, confinement) as foreground,
    ):
        status = foreground.wait()
        sys.stderr.write(foreground.report(interactive=sys.stderr.isatty()))
        sys.stderr.flush()
    return _end_as(status)


def _options(arguments: list[str]) -> tuple[Settings, list[str]]:
    """What the options before the app say, and what follows them.

    Raises:
        SettingsError: an option has an impossible value, or none.
    """
    values: dict[str, Any] = {}
    while arguments:
        flag, sign, value = arguments[0].partition("=")
        if arguments[0] == _SANDBOX:
            values["sandbox"], arguments = True, arguments[1:]
        elif flag in _WITH_VALUE and sign:
            values[_WITH_VALUE[flag]], arguments = _value_of(flag, value), arguments[1:]
        elif flag in _WITH_VALUE and arguments[1:]:
            values[_WITH_VALUE[flag]], arguments = _value_of(flag, arguments[1]), arguments[2:]
        elif flag in _WITH_VALUE:
            raise SettingsError(f"{flag} lacks its value", remedy="`mpkernel exec --help` shows it")
        else:
            break
    return Settings(**values), arguments


def _value_of(flag: str, text: str) -> Any:
    name = _WITH_VALUE[flag]
    if name == "python":
        return text
    try:
        return from_text(name, text)
    except ValueError as error:
        raise SettingsError(f"{flag} is {text!r}", remedy=f"it takes {expected(name)}") from error


def _python_for(app: str, settings: Settings) -> OtherPython | None:
    """The Python that the app shall run with, made first if need be; None for our own."""
    if app.startswith("-") and not os.path.exists(app):
        meant = similar(app, [_SANDBOX, *_WITH_VALUE])
        raise MPKernelError(
            f"there is no option {app}{meant}", remedy="`mpkernel exec --help` shows all options"
        )
    if os.path.isdir(app):
        raise AppNotFound(
            f"{app} is a folder, and an app is a file", remedy="name a Python file in it"
        )
    if reason := why_unreachable(app):
        raise AppNotFound(f"the app {app} cannot be reached: {reason}", remedy=HOW_TO_REACH)
    if not os.path.isfile(app):
        raise AppNotFound(f"there is no app {app}", remedy="check the path")
    python = python_of_app(os.path.abspath(app), settings, KernelSpec(entry=_NO_ENTRY))
    if python is None:
        return None
    return python.made(lambda line: print(line, file=sys.stderr, flush=True))


@contextmanager
def _confined(app: str, settings: Settings) -> Iterator[str | None]:
    """What an app may do, as its process reads it; None if it is not confined. Its own folders are
    there as long as this `with` lasts."""
    if settings.confine == "off":
        yield None
        return
    # Its name says that this process uses it: it is known to be left if this one is killed.
    folders = PrivateFolders.make(
        app, os.getpid(), settings.file_storage, settings.file_fallback, with_files=False
    )
    try:
        confinement = confinement_of(settings, os.path.abspath(app), (), folders.home, ())
        try:
            written = msgspec.json.encode(confinement).decode()
        except UnicodeEncodeError as error:
            raise ConfinementError(
                f"{app} cannot be confined: the path {error.object!r} is not UTF-8",
                remedy="rename it",
            ) from error
        yield written
    finally:
        folders.remove()


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
