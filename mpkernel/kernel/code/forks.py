"""A child that user code forks and lets run on: it ends with its cell, as it does with a script.

It has none of the host's threads and Pipes, so there is nothing else for it to do.
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
    """A child that is forked in this `with` ends with it.

    Args:
        filename: the cell's, for the traceback.
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
    try:  # as Python does, without `atexit`: those functions are the host's
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
