"""Which session's code runs on this thread, and in which cell.

The console stream of a thread knows the place: the run of a cell that the thread belongs to.
Threads inherit the stream from the thread that starts them. So a pool that a cell makes, and what
that pool starts, belong to the cell too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from mpkernel.kernel.messages import Message
from mpkernel.kernel.shown.output_list import CellOutputList

__all__ = ["Place", "current_place", "set_finder"]


class Place(Protocol):
    """One run of one cell in a session."""

    @property
    def cell(self) -> str:
        """The cell's name."""
        ...

    @property
    def outputs(self) -> CellOutputList:
        """What the cell shows."""
        ...

    @property
    def over(self) -> threading.Event:
        """Set when the cell runs again, or its session is closed."""
        ...

    def send(self, message: Message) -> None:
        """Send to the session's client, from any thread. Waits while the client is far behind. The
        messages of a closed session are dropped."""
        ...


def _nowhere() -> Place | None:
    return None


_finder: Callable[[], Place | None] = _nowhere


def set_finder(finder: Callable[[], Place | None]) -> None:
    """Called by the kernel: `finder` finds the calling thread's place from now on."""
    global _finder
    _finder = finder


def current_place() -> Place | None:
    """The calling thread's place; None outside of any session."""
    return _finder()
