"""`ConsoleTail`: the last lines that a host wrote, for the report of its death."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

__all__ = ["ConsoleTail"]

_TAIL_LINES = 40
_FAULT_LINES = 1000
_FAULT_BEGINS = "Fatal Python error: "


class ConsoleTail:
    """The last lines that one host wrote to its descriptors, and whether any of these is still
    open.

    Args:
        name: the app's name, for messages.
        app: absolute path of the app's file.
        pid: the host's process id.
        sources: how many descriptors there are.
        on_end: called when all of them are at their end.

    Attributes:
        ended: set when all of the host's descriptors are at their end.
    """

    def __init__(
        self, name: str, app: str, pid: int, sources: int, on_end: Callable[[], None]
    ) -> None:
        self.name = name
        self.app = app
        self.pid = pid
        self.ended = threading.Event()
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._faults: list[str] = []
        self._open_sources = sources
        self._on_end = on_end

    def lines(self) -> list[str]:
        """The last lines of all descriptors together, oldest first. From any thread."""
        return list(self._lines)

    def add(self, text: str) -> None:
        """Called by the relay: more lines, the last one without its line end."""
        self._lines.extend(text.rsplit("\n", _TAIL_LINES)[-_TAIL_LINES:])

    def faults(self) -> str:
        """What faulthandler wrote last, at most 1,000 lines. From any thread.

        A fork that C code makes shares the descriptor and writes there when it crashes. A process
        that crashes writes its own report last, so an earlier report is of another process.
        """
        return "\n".join(self._faults)

    def add_faults(self, text: str) -> None:
        """Called by the relay: more lines of faulthandler, the last one without its line end."""
        for line in text.split("\n"):
            if line.startswith(_FAULT_BEGINS):
                self._faults = []
            if len(self._faults) < _FAULT_LINES:
                self._faults.append(line)

    def source_ended(self) -> None:
        """Called by the relay: one of the descriptors is at its end."""
        self._open_sources -= 1
        if self._open_sources == 0:
            try:
                self._on_end()
            finally:
                self.ended.set()
