"""`UnclosedPools`: kills the processes of pools that nobody has closed."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["UnclosedPools"]


class _Pool(Protocol):
    def kill(self) -> None: ...


PoolT = TypeVar("PoolT", bound=_Pool)


class UnclosedPools(Generic[PoolT]):
    """The pools of this process. Those that are still open when it exits are killed.

    Args:
        has_lost_its_loop: whether the loop of a pool was closed.
    """

    def __init__(self, has_lost_its_loop: Callable[[PoolT], bool]) -> None:
        self._has_lost_its_loop = has_lost_its_loop
        self._pools: weakref.WeakSet[PoolT] = weakref.WeakSet()
        atexit.register(self._kill_all)

    def add(self, pool: PoolT) -> None:
        """Watch one more pool, as long as the object exists."""
        self._pools.add(pool)

    def kill_those_of_closed_loops(self) -> None:
        """Kill the pools that were not closed before their loops: nobody else can end them now."""
        for pool in list(self._pools):
            if self._has_lost_its_loop(pool):
                pool.kill()

    def _kill_all(self) -> None:
        for pool in list(self._pools):
            pool.kill()
