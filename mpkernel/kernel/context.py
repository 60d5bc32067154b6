"""Which session's code runs on this thread, and in which cell.

A thread carries its place in its console stream, which threads that it starts inherit: so a pool
that a cell made, and what that pool starts, belong to the cell too.
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
        """Set when the cell runs again or its session closes."""
        ...

    def send(self, message: Message) -> None:
        """Send to the session's client, from any thread. Waits while the client is far behind; a
        closed session's messages go nowhere."""
        ...


def _nowhere() -> Place | None:
    return None


_finder: Callable[[], Place | None] = _nowhere


def set_finder(finder: Callable[[], Place | None]) -> None:
    """The kernel's: how to find the calling thread's place."""
    global _finder
    _finder = finder


def current_place() -> Place | None:
    """The calling thread's place; None outside of any session."""
    return _finder()
