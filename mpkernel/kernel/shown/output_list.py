"""`CellOutputList`: what a cell shows, a list that many threads change.

The list outlives its cell's run, so threads that the cell left behind add to it as before. What
user code calls to change it is in `outputs`.
"""

from __future__ import annotations

import operator
import os
import threading
import weakref
from collections.abc import Callable
from typing import NamedTuple

from mpkernel.kernel.messages import Figure
from mpkernel.kernel.shown.display import stacked

__all__ = ["CellOutputList"]


class _Shown(NamedTuple):
    """A value that is shown, and how."""

    value: object
    figure: Figure


class CellOutputList:
    """The outputs of one run of a cell, for any thread.

    Every change is told, in the order in which they were made. What changes while one is told, on
    the same thread (a `__del__` that the garbage collector runs), is told right after it.

    Args:
        on_change: is given all figures after each change, under the lock. What it raises goes to
            whoever made the change, which stands, and is told with the next one.
        to_figure: how to show a value. Called without the lock: a value's own code may wait for
            other threads.
    """

    def __init__(
        self, on_change: Callable[[list[Figure]], None], to_figure: Callable[[object], Figure]
    ) -> None:
        self._on_change = on_change
        self._to_figure = to_figure
        self._lock = threading.RLock()
        self._shown: list[_Shown] = []  # replaced, never changed; guarded by _lock
        self._told = self._shown  # guarded by _lock
        self._telling = False  # guarded by _lock
        _living.add(self)

    @property
    def figures(self) -> list[Figure]:
        """A copy of what is shown."""
        return [shown.figure for shown in self._shown]

    def append(self, value: object) -> None:
        """Show a value under the others."""
        new = self._shown_as(value)
        self._change(lambda shown: [*shown, new])

    def replace(self, value: object) -> None:
        """Show a value instead of all others."""
        new = self._shown_as(value)
        self._change(lambda _: [new])

    def replace_at(self, value: object, index: int) -> None:
        """Show a value instead of the one at `index`; negative ones count from the end, and the
        number of outputs itself appends.

        Raises:
            IndexError: there are fewer outputs. Nothing changed.
        """
        new, index = self._shown_as(value), operator.index(index)

        def replaced(shown: list[_Shown]) -> list[_Shown]:
            count = len(shown)
            if not -count <= index <= count:
                raise IndexError(f"no output {index} to replace: the cell shows {count}")
            at = index + count if index < 0 else index
            return [*shown[:at], new, *shown[at + 1 :]]

        self._change(replaced)

    def clear(self) -> None:
        """Show nothing."""
        self._change(lambda _: [])

    def remove(self, value: object) -> None:
        """Stop showing a value, wherever it is shown: this very object, or an equal text or number.
        One that is not shown is no error: another thread may have been first."""

        def removed(shown: list[_Shown]) -> list[_Shown]:
            kept = [one for one in shown if not _is_same(one.value, value)]
            return kept if len(kept) < len(shown) else shown

        self._change(removed)

    def stack(self) -> Figure | None:
        """All that is shown as one figure, one under another; None when nothing is."""
        return stacked(self.figures)

    def flush(self) -> None:
        """Tell of a change that could not be told when it was made: an interrupt came between."""
        with self._lock:
            self._tell()

    def __len__(self) -> int:
        return len(self._shown)

    def __repr__(self) -> str:
        return f"<CellOutputList of {len(self)}>"

    def _shown_as(self, value: object) -> _Shown:
        return _Shown(value, self._to_figure(value))

    def _change(self, edited: Callable[[list[_Shown]], list[_Shown]]) -> None:
        with self._lock:
            # Held until the lock is not: with it go values, whose __del__ may wait for a thread.
            before = self._shown
            self._shown = edited(before)
            self._tell()

    def _tell(self) -> None:
        if self._telling:
            return
        self._telling = True
        try:
            while (shown := self._shown) is not self._told:
                self._on_change([one.figure for one in shown])
                self._told = shown
        finally:
            self._telling = False


def _is_same(one: object, other: object) -> bool:
    if one is other:
        return True
    is_plain = type(one) is type(other) and type(one) in (str, bytes, int, float, complex)
    return is_plain and one == other


_living: weakref.WeakSet[CellOutputList] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a fork, a lock may be held by a thread that is not there."""
    for outputs in list(_living):
        outputs._lock = threading.RLock()
        outputs._telling = False


os.register_at_fork(after_in_child=_renew_locks)
