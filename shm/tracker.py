"""multiprocessing's resource tracker, told of names: it removes what a dead process left.

A block's name is given back from wherever the last reader ends, a `__del__` too, and the garbage
collector may run that while the same thread is inside the tracker's own lock. Told then, the
tracker warns of a call from within; so the name waits until the lock is free.
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
    """Have a block of this name removed when this process is gone. `OSError` when no tracker can
    be had."""
    resource_tracker.register(f"/{name}", _KIND)
    _untrack_waiting()


def untrack(name: str) -> None:
    """The block is removed already."""
    _waiting.append(name)
    _untrack_waiting()


def _untrack_waiting() -> None:
    while not _tracker._lock._is_owned():
        try:
            name = _waiting.popleft()
        except IndexError:
            return
        resource_tracker.unregister(f"/{name}", _KIND)
