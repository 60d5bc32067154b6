"""What the process wrote to its descriptors 1 and 2, brought back to the session that ran.

    os.write(1, …), printf, a subprocess ══ pipe ══▶ the server, and its log
    a session's console ◀─ hook ◀─ dispatcher ◀══ ConsoleText ═══┘

The text says nothing of who wrote it. So a kernel keeps the `Runs` of its sessions, and gives text
to the one that ran alone when it was written; where none or several ran, it is the log's only.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import termios
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
_LOOK_AGAIN_S = 0.0005
_READ_WITHIN_S = 0.25
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


def _wait_until_read(within_s: float) -> bool:
    deadline_s = time.monotonic() + within_s
    while unread := _unread_bytes(1) or _unread_bytes(2):
        if time.monotonic() > deadline_s:
            break
        time.sleep(_LOOK_AGAIN_S)
    return not unread


def _unread_bytes(fd: int) -> int:
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:  # the code has closed it, or put something else in its place
        return 0


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
    was_read: bool  # all that was written until the end


class Runs:
    """Which sessions ran their clients' code, and when. For any thread.

    Args:
        clock: as `time.monotonic`.
        wait_until_read: waits until the server has read what was written, for so many seconds at
            the longest; returns whether it has.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wait_until_read: Callable[[float], bool] = _wait_until_read,
    ) -> None:
        self._clock = clock
        self._wait_until_read = wait_until_read
        self._lock = threading.Lock()  # guards both
        self._running: dict[int, tuple[Ran, float]] = {}
        self._ended: deque[_Ended] = deque()

    @contextmanager
    def running(self, session: int, cell: str) -> Iterator[None]:
        """The session, which runs nothing else, runs this cell in the `with`. Its end waits, for
        250 ms at the longest, until what the cell wrote is read: it would be the next one's else.
        Where nobody could tell whose it is, nothing waits."""
        ran, began_s = Ran(session, cell), self._clock()
        with self._lock:
            self._running[session] = ran, began_s
        try:
            yield
        finally:
            is_alone = self.alone_at(self._clock()) is not None
            was_read = self._wait_until_read(_READ_WITHIN_S if is_alone else 0)
            with self._lock:
                now = self._clock()
                del self._running[session]
                self._ended.append(_Ended(ran, began_s, now, was_read))
                while self._ended[0].ended_s < now - _KEPT_S:
                    self._ended.popleft()

    def alone_at(self, read_at_s: float) -> Ran | None:
        """Whose text it is that was read then: the latest run of the only session that ran at any
        time in the 0.1 s before, not counting those whose text was read before. None when there
        were none or several."""
        written_s = read_at_s - _WRITTEN_WITHIN_S
        late: list[tuple[float, Ran]] = []  # what these have written since can only be a child's
        with self._lock:
            found = [(s, ran) for ran, s in self._running.values() if s <= read_at_s]
            for ended in reversed(self._ended):
                if ended.ended_s < written_s:
                    break
                if ended.began_s <= read_at_s:
                    was_before = ended.was_read and ended.ended_s < read_at_s
                    (late if was_before else found).append((ended.began_s, ended.ran))
        found = found or late
        if len({ran.session for _, ran in found}) != 1:
            return None
        return max(found)[1]


def _pass_lines_on() -> None:
    import ctypes

    if sys.__stdout__ is None or sys.__stdout__.write_through:
        return  # they pass on everything: PYTHONUNBUFFERED holds for both
    sys.__stdout__.reconfigure(line_buffering=True)
    libc = ctypes.CDLL(None)
    try:
        stdout = ctypes.c_void_p.in_dll(libc, "__stdoutp" if sys.platform == "darwin" else "stdout")
        libc.setvbuf(stdout, None, _LINE_BUFFERED, ctypes.c_size_t(0))
    except (AttributeError, ValueError) as error:
        logger.debug("what C code prints may come late, its stdout was not found: %s", error)
