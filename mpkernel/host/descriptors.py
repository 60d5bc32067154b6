"""What the process wrote to its descriptors 1 and 2, brought back to the session that ran.

    os.write(1, …), printf, a subprocess ══ pipe ══▶ the server, and its log
    a session's console ◀─ hook ◀─ dispatcher ◀══ ConsoleText ═══┘

The text says nothing of who wrote it. So a kernel keeps the `Runs` of its sessions, and gives text
to the one that ran alone when it was written; where none or several ran, it is the log's only.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from mpkernel.wire.messages import ConsoleText, WantConsole

if TYPE_CHECKING:
    from mpkernel.host.kernels import Kernel

__all__ = ["Ran", "Runs", "bring_back", "deliver"]

logger = logging.getLogger(__name__)

_WRITTEN_WITHIN_S = 0.1
_KEPT_S = 5.0
_LINE_BUFFERED = 1  # libc's _IOLBF

_hook: Callable[[ConsoleText], None] | None = None


def bring_back(kernel: Kernel, hook: Callable[[ConsoleText], None]) -> None:
    """Have `hook` called with what the process writes to descriptors 1 and 2. Once per process.

    It is called on the dispatcher's thread: it must return at once, and neither print nor raise. C
    code and Python's own files on these descriptors pass on whole lines from now on, as at a
    terminal.

    Raises:
        OSError: the server is gone.
    """
    global _hook
    _hook = hook
    _pass_lines_on()
    kernel.announce(WantConsole())


def deliver(message: ConsoleText) -> None:
    """The dispatcher's: text came back."""
    global _hook
    if _hook is None:
        return
    try:
        _hook(message)
    except Exception:
        _hook = None  # first: the log goes to descriptor 2, and comes back
        logger.exception("text of descriptors 1 and 2 is the log's only now pid=%d", os.getpid())


class Ran(NamedTuple):
    """A run of one cell.

    Attributes:
        session: the session's number.
        cell: the cell's name.
    """

    session: int
    cell: str


class _Ended(NamedTuple):
    ran: Ran
    began_s: float
    ended_s: float


class Runs:
    """Which sessions ran their clients' code, and when. For any thread.

    Args:
        clock: as `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards both
        self._running: dict[int, tuple[Ran, float]] = {}
        self._ended: deque[_Ended] = deque()

    @contextmanager
    def running(self, session: int, cell: str) -> Iterator[None]:
        """The session, which runs nothing else, runs this cell in the `with`."""
        ran, began_s = Ran(session, cell), self._clock()
        with self._lock:
            self._running[session] = ran, began_s
        try:
            yield
        finally:
            with self._lock:
                now = self._clock()
                del self._running[session]
                self._ended.append(_Ended(ran, began_s, now))
                while self._ended[0].ended_s < now - _KEPT_S:
                    self._ended.popleft()

    def alone_at(self, read_at_s: float) -> Ran | None:
        """Whose text it is that was read then: the latest run of the only session that ran at any
        time in the 0.1 s before. None when there were none or several."""
        written_s = read_at_s - _WRITTEN_WITHIN_S
        with self._lock:
            found = [(s, ran) for ran, s in self._running.values() if s <= read_at_s]
            for ended in reversed(self._ended):
                if ended.ended_s < written_s:
                    break
                if ended.began_s <= read_at_s:
                    found.append((ended.began_s, ended.ran))
        if len({ran.session for _, ran in found}) != 1:
            return None
        return max(found)[1]


def _pass_lines_on() -> None:
    if sys.__stdout__ is not None:
        sys.__stdout__.reconfigure(line_buffering=True)  # type: ignore[attr-defined]
    import ctypes

    libc = ctypes.CDLL(None)
    name = "__stdoutp" if sys.platform == "darwin" else "stdout"
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, name), None, _LINE_BUFFERED, ctypes.c_size_t(0))
