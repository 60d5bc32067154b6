"""Starting threads in Python 3.11, so that an exception for the starter is not raised in the thread
that it starts.

There a new thread has the ident of its starter until it runs for the first time. The interpreter
raises an exception for this ident in the newest thread that has it. The new thread would end at its
first step. Its starter, which waits in `Thread.start` until it is told that the new thread runs,
would wait for ever, and no interrupt would be raised in it. So the starter waits here until the new
thread runs, and an exception that comes meanwhile is raised after that.

Later versions give a thread its own ident from the beginning.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

__all__ = ["make_thread_starts_safe"]

_PATIENCE_S = 10.0
"""How long the starter waits. A new thread for which there is no memory may end without a word."""


def make_thread_starts_safe(shield: Callable[[], AbstractContextManager[None] | None]) -> None:
    """Have threads start as this module says. To be called once.

    Args:
        shield: gives the `with` in which no exception is raised on the calling thread, or None when
            that thread is not interrupted at all.
    """
    if sys.version_info < (3, 12):
        changed: Any = threading
        changed._start_new_thread = _shielded(changed._start_new_thread, shield)


def _shielded(
    start: Callable[..., int], shield: Callable[[], AbstractContextManager[None] | None]
) -> Callable[..., int]:
    def start_in_shield(function: Callable[..., object], *args: Any, **options: Any) -> int:
        shielded = shield()
        if shielded is None:
            return start(function, *args, **options)
        runs = threading.Lock()
        runs.acquire()

        def run(*run_args: Any, **run_options: Any) -> None:
            runs.release()
            function(*run_args, **run_options)

        with shielded:
            ident = start(run, *args, **options)
            runs.acquire(timeout=_PATIENCE_S)
        return ident

    return start_in_shield
