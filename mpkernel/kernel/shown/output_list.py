"""`CellOutputList`: what a cell shows, a list that many threads change.

The list outlives the run of its cell, so threads that the cell has started can still add to it. The
functions by which user code changes it are in `outputs`.
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
    """A value that is shown, and its figure."""

    value: object
    figure: Figure


class CellOutputList:
    """The outputs of one run of a cell, for any thread.

    `on_change` is called for every change, in the order of the changes. If a `__del__` that the
    garbage collector runs makes a change inside that call, on the same thread, `on_change` is
    called for it right afterwards.

    Args:
        on_change: called with all figures after each change, under the lock. What it raises is
            raised by the method that made the change. The change stays, and is in the next call.
        to_figure: turns a value into a figure. Called without the lock: a value's own code may wait
            for other threads.
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
        """Show a value below the others."""
        new = self._shown_as(value)
        self._change(lambda shown: [*shown, new])

    def replace(self, value: object) -> None:
        """Show a value instead of all others."""
        new = self._shown_as(value)
        self._change(lambda _: [new])

    def replace_at(self, value: object, index: int) -> None:
        """Show a value instead of the one at `index`. A negative index counts from the end. If the
        index is the number of outputs, the value is appended.

        Raises:
            IndexError: there are fewer outputs. Nothing was changed.
        """
        new, index = self._shown_as(value), operator.index(index)

        def replaced(shown: list[_Shown]) -> list[_Shown]:
            count = len(shown)
            if not -count <= index <= count:
                raise IndexError(f"there is no output {index} to replace: the cell shows {count}")
            at = index + count if index < 0 else index
            return [*shown[:at], new, *shown[at + 1 :]]

        self._change(replaced)

    def clear(self) -> None:
        """Show nothing."""
        self._change(lambda _: [])

    def remove(self, value: object) -> None:
        """Stop showing a value, wherever it is shown: this very object, or an equal text or number.
        It is not an error when the value is not shown: another thread may have removed it."""

        def removed(shown: list[_Shown]) -> list[_Shown]:
            kept = [one for one in shown if not _is_same(one.value, value)]
            return kept if len(kept) < len(shown) else shown

        self._change(removed)

    def stack(self) -> Figure | None:
        """All that is shown as one figure, one value below another; None when nothing is shown."""
        return stacked(self.figures)

    def flush(self) -> None:
        """Call `on_change` for a change after which it was not called, because of an interrupt."""
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
            # Kept until the lock is released: the values in it may have a `__del__` that waits for
            # a thread.
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
    """In a fork, a lock may be held by a thread that the fork does not have."""
    for outputs in list(_living):
        outputs._lock = threading.RLock()
        outputs._telling = False


os.register_at_fork(after_in_child=_renew_locks)
