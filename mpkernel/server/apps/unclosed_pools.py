"""`UnclosedPools`: kills what is left of pools that nobody closes."""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol

__all__ = ["UnclosedPools"]


class _Pool(Protocol):
    @property
    def has_lost_its_loop(self) -> bool: ...

    def kill(self) -> None: ...


class UnclosedPools:
    """The pools of this process. Those that still exist when it exits are killed."""

    def __init__(self) -> None:
        self._pools: weakref.WeakSet[_Pool] = weakref.WeakSet()
        atexit.register(self._kill_all)

    def add(self, pool: _Pool) -> None:
        """Watch this one, too, as long as it exists."""
        self._pools.add(pool)

    def kill_those_of_closed_loops(self) -> None:
        """Kill the pools that were not closed before their loops: nobody else can end them now."""
        for pool in list(self._pools):
            if pool.has_lost_its_loop:
                pool.kill()

    def _kill_all(self) -> None:
        for pool in list(self._pools):
            pool.kill()
