"""Adds to the traceback of a refused operation that the app is confined, and names the settings."""

from __future__ import annotations

import errno
import multiprocessing
import os
import sys
import traceback
from types import TracebackType
from typing import Any

__all__ = ["explain_refusals"]


_OF_MULTIPROCESSING = os.path.dirname(multiprocessing.__file__)


def explain_refusals(level: str, *, has_own_memory: bool) -> None:
    """Have tracebacks of this process say so, as a note (PEP 678). Call it once.

    Args:
        level: how the app is confined.
        has_own_memory: whether it has a `/dev/shm` of its own.
    """
    help_line = (
        f"mpkernel: this app is confined (confine={level}); what it needs more is named with"
        " confine_read, confine_write and confine_connect"
    )
    without_memory = (
        "mpkernel: the locks and shared memory of multiprocessing need a /dev/shm of the app's own,"
        " and this machine lets this user make no user namespace; see mpkernel docs security, or"
        " share that of all apps: confine_write=/dev/shm"
    )
    original = traceback.TracebackException.__init__

    def with_help(
        self: traceback.TracebackException,
        exc_type: type[BaseException],
        exc_value: BaseException,
        exc_traceback: TracebackType | None,
        **options: Any,
    ) -> None:
        original(self, exc_type, exc_value, exc_traceback, **options)
        if isinstance(exc_value, PermissionError) or _is_read_only(exc_value):
            self.__notes__ = [*(self.__notes__ or ()), help_line]
            if not has_own_memory and _is_raised_in_multiprocessing(exc_traceback):
                self.__notes__.append(without_memory)

    traceback.TracebackException.__init__ = with_help  # type: ignore[method-assign]
    if sys.excepthook is sys.__excepthook__:  # which makes no use of `traceback` before Python 3.13
        sys.excepthook = traceback.print_exception


def _is_read_only(error: BaseException) -> bool:
    """Whether an error says that a file system is read-only: see `own_mounts`."""
    return isinstance(error, OSError) and error.errno == errno.EROFS


def _is_raised_in_multiprocessing(raised_at: TracebackType | None) -> bool:
    while raised_at is not None and raised_at.tb_next is not None:
        raised_at = raised_at.tb_next
    if raised_at is None:
        return False
    return raised_at.tb_frame.f_code.co_filename.startswith(_OF_MULTIPROCESSING)
