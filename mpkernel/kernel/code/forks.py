"""A child process that user code forks and does not end: it ends at the end of its cell, as the
child of a script ends at the end of the script.

It has none of the host's threads and Pipes, so it could not do anything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from mpkernel.kernel.code.runner import exit_code_of, traceback_of

__all__ = ["ending_children"]

_OF_INTERRUPT = 130


@contextmanager
def ending_children(filename: str) -> Iterator[None]:
    """A child process that is forked inside this `with` ends at the end of the `with`.

    Args:
        filename: the file that tracebacks name for the cell.
    """
    pid = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != pid:
            _leave(error, filename)
        raise
    if os.getpid() != pid:
        _leave(None, filename)


def _leave(error: BaseException | None, filename: str) -> NoReturn:
    exit_code, text = _ending_of(error, filename)
    try:  # as Python ends, but without `atexit`: its functions belong to the host
        sys.stderr.write(text)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(exit_code)


def _ending_of(error: BaseException | None, filename: str) -> tuple[int, str]:
    match error:
        case None:
            return 0, ""
        case SystemExit():
            return exit_code_of(error)
        case KeyboardInterrupt():
            return _OF_INTERRUPT, traceback_of(error, filename)
        case _:
            return 1, traceback_of(error, filename)
