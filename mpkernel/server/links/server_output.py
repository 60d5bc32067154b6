"""`ServerOutput`: the descriptors 1 and 2 of a server, written without waiting.

The reader of a server's output may stop reading: somebody types Ctrl-S in its terminal, a
connection by SSH hangs, a program that collects logs is stopped. Then the pipe or the terminal is
full, and who writes to it waits. The server's event loop must not: a line of its log would stop all
apps.

    loggers, print() ─▶ write ─▶ descriptor 1 or 2        while that takes the text at once
                          └────▶ waiting text ─▶ a thread ─▶ the descriptor

At most `_MOST_WAITING_BYTES` wait. More text is left out, and when the reader has taken all the
rest, the log says how many lines are missing. The same holds for a file whose disk is full: no
server ends because its log cannot be written.

`ConsoleRelay` writes the text of apps here, too. It calls `wait_until_taken` before: so its thread
waits for the reader, and an app that prints more than the reader takes waits as well.
"""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from mpkernel.logs import get_logger

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ServerOutput", "output_of", "write_without_waiting"]

logger = get_logger(__name__)

_MOST_WAITING_BYTES = 1024 * 1024
_PIECE_BYTES = 512
"""How much is written at once where a write may wait: the smallest size of which POSIX says that a
pipe takes it whole."""

_TAKES_NOTHING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""The errors of a full disk, of a bound on files, and of a terminal that has gone."""


def write_without_waiting() -> None:
    """Replace `sys.stdout` and `sys.stderr` by streams that never wait. Called once, before any
    other code keeps one of them."""
    for name in ("stdout", "stderr"):
        present = getattr(sys, name)
        if isinstance(present, io.TextIOWrapper):
            present.flush()
            replaced = _stream(present)
            setattr(sys, name, replaced)
            setattr(sys, f"__{name}__", replaced)


def output_of(stream: TextIO) -> ServerOutput | None:
    """The `ServerOutput` that a stream writes to; None for any other stream."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, ServerOutput) else None


def _stream(present: io.TextIOWrapper) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(ServerOutput(present.fileno())),
        encoding=present.encoding,
        errors=present.errors,
        line_buffering=True,
    )


class ServerOutput(io.RawIOBase):
    """A descriptor that is written without waiting. From any thread.

    Args:
        fd: which. It stays open.
        most_waiting_bytes: how much may wait until the reader takes it. Default: 1 MiB.
    """

    def __init__(self, fd: int, *, most_waiting_bytes: int = _MOST_WAITING_BYTES) -> None:
        self._fd = fd
        self._most_waiting_bytes = most_waiting_bytes
        self._write_now = _writer_to(fd)
        # Guards what follows. Reentrant, because a signal's handler may write, too.
        self._taken = threading.Condition(threading.RLock())
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._missing_lines = 0
        self._thread: threading.Thread | None = None
        self._is_given_up = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: Buffer, /) -> int:
        """Write all of it, now or later.

        Raises:
            OSError: nobody reads the pipe any more.
        """
        given = bytes(data)
        with self._taken:
            try:
                rest = given if self._waiting else given[self._write_now(given) :]
            except OSError as error:
                if self._is_given_up:  # otherwise Python would try it again at its end, and fail
                    return len(given)
                if error.errno not in _TAKES_NOTHING:
                    raise
                self._miss(given)
                return len(given)
            if rest:
                self._keep(rest)
            elif self._missing_lines and not self._is_given_up:
                self._start()
        return len(given)

    def wait_until_taken(self, timeout_s: float | None = None) -> None:
        """Wait until nothing waits any more, or `give_up` is called.

        Args:
            timeout_s: the longest wait. Default: for ever.
        """
        with self._taken:
            self._taken.wait_for(lambda: self._is_given_up or not self._waiting, timeout_s)

    def give_up(self, timeout_s: float) -> None:
        """The server ends: wait this long until the waiting text is written. From then on, nobody
        waits for the reader, and what it does not take at once is left out.

        Args:
            timeout_s: the longest wait.
        """
        self.wait_until_taken(timeout_s)
        with self._taken:
            self._is_given_up = True
            self._taken.notify_all()

    def _keep(self, text: bytes) -> None:
        if self._is_given_up:
            return
        if self._waiting_bytes + len(text) > self._most_waiting_bytes or not self._start():
            self._miss(text)
            return
        self._waiting.append(text)
        self._waiting_bytes += len(text)

    def _miss(self, text: bytes) -> None:
        self._missing_lines += max(1, text.count(b"\n"))

    def _start(self) -> bool:
        """Have the thread write what waits, and then tell what is missing. Returns False when no
        thread can be had: the next text tries again."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="mpkernel-output", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            _wait_for_room(self._fd)
            with self._taken:
                self._write_waiting()
                if self._waiting:
                    continue
                self._thread = None
                missing, self._missing_lines = self._missing_lines, 0
                self._taken.notify_all()
            if missing:
                logger.warning(
                    "%d lines of the output of this server are missing: for a while, nobody read it"
                    " or its disk was full",
                    missing,
                )
            return

    def _write_waiting(self) -> None:
        """Write what the descriptor takes. The caller holds the lock."""
        while self._waiting:
            text = self._waiting[0]
            try:
                written = self._write_now(text)
            except OSError:  # nobody reads the pipe any more, or the disk is full
                written = len(text)
                self._miss(text)
            self._waiting_bytes -= written
            if written < len(text):
                self._waiting[0] = text[written:]
                return
            self._waiting.popleft()


def _writer_to(fd: int) -> Callable[[bytes], int]:
    """A function that writes to a descriptor as much as this takes without waiting, and returns how
    many bytes that was.

    Whether a write waits is a property of the open file, which other processes share: the terminal
    of the shell, for example. So a terminal or a pipe is opened once more, for this process alone.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return lambda data: _write_whole(fd, data)
    if stat.S_ISSOCK(mode):
        return _writer_to_socket(socket.socket(fileno=os.dup(fd)))
    try:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        own = os.open(f"/proc/self/fd/{fd}", flags)
    except OSError:  # another system, or a terminal that this user may not open
        return lambda data: _write_pieces(fd, data)
    return lambda data: _write_to_own(own, data)


def _write_whole(fd: int, data: bytes) -> int:
    written = 0
    while written < len(data):
        written += os.write(fd, data[written:])
    return written


def _write_to_own(fd: int, data: bytes) -> int:
    written = 0
    try:
        while written < len(data):
            written += os.write(fd, data[written:])
    except BlockingIOError:
        pass
    return written


def _writer_to_socket(own: socket.socket) -> Callable[[bytes], int]:
    def write(data: bytes) -> int:
        written = 0
        try:
            while written < len(data):
                written += own.send(data[written:], socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        return written

    return write


def _write_pieces(fd: int, data: bytes) -> int:
    written = 0
    while written < len(data) and _has_room(fd, 0.0):
        written += os.write(fd, data[written : written + _PIECE_BYTES])
    return written


def _wait_for_room(fd: int) -> None:
    while not _has_room(fd, None):
        time.sleep(0.1)


def _has_room(fd: int, timeout_s: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))
