"""What the process wrote to its descriptors 1 and 2, given to the session whose code ran.

    os.write(1, …), printf, a subprocess ══ pipe ══▶ the server, and its log
    a session's console ◀─ hook ◀─ dispatcher ◀══ ConsoleText ═══┘

The text does not say who wrote it. So `Runs` keeps which sessions ran when, and text is given to
the session that ran alone when it was written. When none or several ran, it is only in the log.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from mpkernel.late_logger import late_logger
from mpkernel.own_clock import monotonic, sleep
from mpkernel.wire.messages import ConsoleText, WantConsole

if TYPE_CHECKING:
    from mpkernel.host.hosted_kernel import HostedKernel

__all__ = ["Ran", "Runs", "bring_back", "deliver"]

logger = late_logger(__name__)

_WRITTEN_WITHIN_S = 0.1
_KEPT_S = 5.0
_LOOK_AGAIN_S = 0.0005
_READ_WITHIN_S = 0.25
_LINE_BUFFERED = 1  # libc's _IOLBF

_hook: Callable[[ConsoleText], None] | None = None


def bring_back(kernel: HostedKernel, hook: Callable[[ConsoleText], None]) -> None:
    """Have `hook` called with what the process writes to descriptors 1 and 2. Once per process.

    It is called on the dispatcher's thread: it must return at once, and neither print nor raise.
    From now on C code, too, writes to these descriptors at the end of each line, as it does at a
    terminal.

    Raises:
        OSError: the server is gone.
    """
    global _hook
    _hook = hook
    _pass_lines_of_c_on()
    kernel.announce(WantConsole())


def deliver(message: ConsoleText) -> None:
    """Called by the dispatcher: the server has sent text of these descriptors back."""
    global _hook
    if _hook is None:
        return
    try:
        _hook(message)
    except Exception:
        _hook = None  # before it is logged: the log goes to descriptor 2, and comes back
        logger.exception(
            "text of descriptors 1 and 2 goes only to the log from now on pid=%d", os.getpid()
        )


def _wait_until_read(within_s: float) -> bool:
    deadline_s = monotonic() + within_s
    while unread := _unread_bytes(1) or _unread_bytes(2):
        if monotonic() > deadline_s:
            break
        sleep(_LOOK_AGAIN_S)
    return not unread


def _unread_bytes(fd: int) -> int:
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:  # user code has closed or replaced it
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
    was_read: bool  # whether the server had read, when the run ended, all that it wrote


class Runs:
    """Which sessions ran their clients' code, and when. For any thread.

    Args:
        clock: as `time.monotonic`.
        wait_until_read: waits until the server has read what was written, for so many seconds at
            the longest; returns whether it has.
    """

    def __init__(
        self,
        clock: Callable[[], float] = monotonic,
        wait_until_read: Callable[[float], bool] = _wait_until_read,
    ) -> None:
        self._clock = clock
        self._wait_until_read = wait_until_read
        self._lock = threading.Lock()  # guards both
        self._running: dict[int, tuple[Ran, float]] = {}
        self._ended: deque[_Ended] = deque()

    @contextmanager
    def running(self, session: int, cell: str) -> Iterator[None]:
        """Inside this `with`, the session runs this cell. The end of the `with` waits, for at most
        250 ms, until the server has read what the cell wrote: otherwise that text would be given to
        the next cell. It does not wait when other sessions ran, too: then nobody can tell which
        session wrote the text."""
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
        """Which run wrote the text that the server read at that time: the latest run of the only
        session that ran in the 0.1 s before. Runs whose text had all been read before count only
        when there are no others. None when no session ran, or several did."""
        written_s = read_at_s - _WRITTEN_WITHIN_S
        late: list[tuple[float, Ran]] = []  # only child processes of these runs can have written it
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


def _pass_lines_of_c_on() -> None:
    import ctypes

    if sys.__stdout__ is None or sys.__stdout__.write_through:
        return  # with PYTHONUNBUFFERED, C code holds nothing back either
    libc = ctypes.CDLL(None)
    try:
        stdout = ctypes.c_void_p.in_dll(libc, "__stdoutp" if sys.platform == "darwin" else "stdout")
        libc.setvbuf(stdout, None, _LINE_BUFFERED, ctypes.c_size_t(0))
    except (AttributeError, ValueError) as error:
        logger.debug("text that C code prints may appear late, its stdout was not found: %s", error)
