"""The format and the level of this process's log: `log_as_json`, `log_from`.

`log_as_json` turns each line of output into a line of JSON from now on.

    loggers ────────────────────▶ JsonFormatter ─┐
    warnings, exceptions that nobody took ──▶ a logger of ours
    print() ────────────────────▶ PrintedAsJson ─┴─▶ descriptors 1 and 2

Output that bypasses Python stays as it is: fatal errors of the interpreter, and what C code writes.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from types import TracebackType
from typing import TextIO

from mpkernel.json_lines import JsonFormatter, printed_lines

__all__ = ["PrintedAsJson", "log_as_json", "log_from"]

logger = logging.getLogger(__name__)


def log_as_json() -> None:
    """Write JSON from now on. Loggers without a handler of their own log only warnings and worse,
    as Python does without this function."""
    from mpkernel.marimo_backend.server.loggers import format_loggers

    formatter = JsonFormatter()
    for stream in (sys.__stdout__, sys.__stderr__):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler(sys.__stderr__)
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
    format_loggers(formatter)
    logging.captureWarnings(True)
    sys.excepthook = _log_exception
    threading.excepthook = _log_exception_of_thread
    sys.unraisablehook = _log_unraisable
    if sys.__stdout__ is not None:
        sys.stdout = PrintedAsJson("stdout", sys.__stdout__)
    if sys.__stderr__ is not None:
        sys.stderr = PrintedAsJson("stderr", sys.__stderr__)


def log_from(level: str, formatter: logging.Formatter | None = None) -> None:
    """Log records of mpkernel's loggers from this level on; other loggers keep their levels.

    Args:
        level: "debug", "info", "warning" or "error".
        formatter: what makes lines of records. Default: the bare message.
    """
    handler = logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(formatter)
    for name in ("mpkernel", "shm"):
        package = logging.getLogger(name)
        package.setLevel(level.upper())
        package.addHandler(handler)
        package.propagate = False


class PrintedAsJson(io.TextIOBase):
    """Stands in for `sys.stdout` or `sys.stderr`: writes a line of JSON for each printed line, and
    for an unfinished line that is flushed. Empty lines are left out.

    Args:
        name: "stdout" or "stderr".
        target: where lines go.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, name: str, target: TextIO) -> None:
        self._name = name
        self._target = target
        # Guards what follows. Reentrant, because a signal's handler may print, too.
        self._lock = threading.RLock()
        self._partial = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._target.fileno()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._partial = (self._partial + text).split("\n")
            self._print(lines)
        return len(text)

    def flush(self) -> None:
        with self._lock:
            partial, self._partial = self._partial, ""
            self._print([partial])

    def _print(self, lines: list[str]) -> None:
        said = [line.rstrip() for line in lines if line.strip()]
        if said:
            self._target.write(printed_lines(self._name, said, pid=os.getpid()))
        self._target.flush()


def _log_exception(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.critical("the server ends: %r", error, exc_info=(kind, error, traceback))


def _log_exception_of_thread(about: threading.ExceptHookArgs) -> None:
    error = about.exc_value
    if error is None or isinstance(error, SystemExit):
        return
    name = about.thread.name if about.thread is not None else "of no name"
    logger.error("thread %s ended: %r", name, error, exc_info=error)


def _log_unraisable(about: sys.UnraisableHookArgs) -> None:
    what = about.err_msg or "Exception ignored in"
    logger.error("%s: %r", what, about.object, exc_info=about.exc_value)
