"""`wait_for_lock`: locks on files (`flock`) that each process has for a moment only.

A process that is stopped while it has such a lock, by a debugger for example, must not hold up the
others for ever: they are told which lock it is.
"""

from __future__ import annotations

import fcntl
import os
import time

__all__ = ["wait_for_lock"]

_STEP_S = 0.005


def wait_for_lock(descriptor: int, path: str | os.PathLike[str], patience_s: float) -> None:
    """Take the lock on an open file. Not on a loop's thread.

    Args:
        descriptor: the file, or the directory.
        path: its path, for the error.
        patience_s: how long to wait for another process.

    Raises:
        TimeoutError: another process has had the lock all that time.
        OSError: there are no locks on this file system.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(
                    f"another process has held the lock {os.fspath(path)} for {patience_s:g} s"
                ) from None
        else:
            return
        time.sleep(_STEP_S)
