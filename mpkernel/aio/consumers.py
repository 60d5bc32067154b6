"""Who is listening to a distributor: adding, removing, and handing an item to each.

All distributors use this. `distributors` says where the items come from.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

__all__ = ["Consumer", "Consumers", "Disposable"]

T = TypeVar("T")

Consumer: TypeAlias = Callable[[T], object]
"""Takes one item. Its result is ignored."""

logger = logging.getLogger(__name__)


class Disposable:
    """Undoes something when it is called for the first time. A further call does nothing."""

    def __init__(self, undo: Callable[[], object]) -> None:
        self._undo: Callable[[], object] | None = undo

    def __call__(self) -> None:
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()


class Consumers(Generic[T]):
    """The consumers of one distributor, in the order of their adding; for any thread.

    Args:
        owner: the distributor's name, for logs.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._lock = threading.Lock()
        # Replaced under the lock, never changed in place: `hand_out` goes over a tuple that stays
        # as it is, without the lock. So a consumer may add and remove consumers while it is called.
        self._entries: tuple[_Entry[T], ...] = ()

    def add(self, consumer: Consumer[T], name: str | None) -> Disposable:
        """Hand ``consumer`` each item from the next one on. Call the result to remove it again."""
        entry = _Entry(consumer, name or _name_of(consumer))
        with self._lock:
            self._entries = (*self._entries, entry)
        return Disposable(lambda: self._remove(entry))

    def hand_out(self, item: T) -> None:
        """Call every consumer with ``item``. An error of one is logged; the others are called."""
        for entry in self._entries:
            if entry.removed:
                continue
            try:
                entry.consumer(item)
            # A consumer that asks a cancelled future for its result is a failing consumer too.
            except (Exception, asyncio.CancelledError):
                logger.exception(
                    "consumer failed consumer=%s distributor=%s", entry.name, self._owner
                )

    def clear(self) -> None:
        """Remove all consumers. Those that `hand_out` has not called yet with its present item are
        not called."""
        with self._lock:
            for entry in self._entries:
                entry.removed = True
            self._entries = ()

    def _remove(self, entry: _Entry[T]) -> None:
        with self._lock:
            entry.removed = True
            self._entries = tuple(other for other in self._entries if other is not entry)


class _Entry(Generic[T]):
    def __init__(self, consumer: Consumer[T], name: str) -> None:
        self.consumer = consumer
        self.name = name
        self.removed = False


def _name_of(consumer: Consumer[T]) -> str:
    name = getattr(consumer, "__qualname__", None)
    return name if isinstance(name, str) else repr(consumer)
