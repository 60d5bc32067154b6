"""Locks that are free in a forked child, even if a thread of the parent held them at the fork."""

from __future__ import annotations

import os
import threading
import weakref

__all__ = ["fork_safe_rlock"]

_locks: weakref.WeakSet[threading.RLock] = weakref.WeakSet()


def fork_safe_rlock() -> threading.RLock:
    """A re-entrant lock that is free in a forked child. The lock is written in C: there is no
    moment in which an asynchronous exception could leave it locked after its `with`."""
    lock = threading.RLock()
    _locks.add(lock)
    return lock


def _free_all() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()  # type: ignore[attr-defined]


os.register_at_fork(after_in_child=_free_all)
