"""Tells multiprocessing's resource tracker which blocks there are. The tracker removes them when
this process has died.

A block is removed where its last reader ends. That may be in a `__del__` which the garbage
collector runs while the same thread holds the tracker's own lock. If the tracker is called then, it
warns of a re-entrant call. So the name is kept in a queue until the lock is free.
"""

from __future__ import annotations

from collections import deque
from multiprocessing import resource_tracker
from typing import Any

__all__ = ["track", "untrack"]

_KIND = "shared_memory"
_tracker: Any = resource_tracker._resource_tracker
_waiting: deque[str] = deque()


def track(name: str) -> None:
    """Have the tracker remove the block of this name when this process has died.

    Raises:
        OSError: no tracker can be started.
    """
    resource_tracker.register(f"/{name}", _KIND)
    _untrack_waiting()


def untrack(name: str) -> None:
    """Tell the tracker that the block is removed already."""
    _waiting.append(name)
    _untrack_waiting()


def _untrack_waiting() -> None:
    while not _must_wait(_tracker._lock):
        try:
            name = _waiting.popleft()
        except IndexError:
            return
        resource_tracker.unregister(f"/{name}", _KIND)


def _must_wait(lock: Any) -> bool:
    """Whether this thread may hold the tracker's lock. Up to Python 3.11.5 and in 3.12.0 it is a
    plain lock, which does not know its owner: there a name also waits while another thread has it,
    for the next call."""
    try:
        return bool(lock._is_owned())
    except AttributeError:
        return bool(lock.locked())
