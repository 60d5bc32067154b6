"""Locks that a forked child finds free, whatever thread of its parent held them."""

from __future__ import annotations

import os
import threading
import weakref

__all__ = ["fork_safe_rlock"]

_locks: weakref.WeakSet[threading.RLock] = weakref.WeakSet()


def fork_safe_rlock() -> threading.RLock:
    """A re-entrant lock, written in C: `with` enters and leaves it without a gap in which an
    asynchronous exception could land."""
    lock = threading.RLock()
    _locks.add(lock)
    return lock


def _free_all() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()  # type: ignore[attr-defined]


os.register_at_fork(after_in_child=_free_all)
