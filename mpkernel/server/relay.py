"""`ConsoleRelay`: what hosts write to their descriptors 1 and 2 goes to the server's own.

One thread for all hosts of a pool, off the loop: the server's own descriptors may be a terminal
or a pipe that nobody reads, and then it is this thread that waits, and the host that prints.
Each line gets the app's name before it; the last lines are kept for the report of a death.
"""

from __future__ import annotations

import logging
import os
import selectors
import sys
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["ConsoleRelay", "ConsoleTail"]

logger = logging.getLogger(__name__)

_READ_BYTES = 64 * 1024
_LINE_BYTES = 16 * 1024
_TAIL_LINES = 40


class ConsoleTail:
    """The last lines that a host wrote, and where its descriptors stand.

    Attributes:
        ended: set when all of the host's descriptors are at their end.
    """

    def __init__(self, name: str, sources: int, on_end: Callable[[], None]) -> None:
        self.name = name
        self.ended = threading.Event()
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._open_sources = sources
        self._on_end = on_end

    def lines(self) -> list[str]:
        """The last lines of all descriptors together, oldest first. From any thread."""
        return list(self._lines)

    def add(self, line: str) -> None:
        """The relay's: one more line."""
        self._lines.append(line)

    def source_ended(self) -> None:
        """The relay's: one of the descriptors is at its end."""
        self._open_sources -= 1
        if self._open_sources == 0:
            self._on_end()
            self.ended.set()


class _Source:
    def __init__(self, tail: ConsoleTail, target: int | None) -> None:
        self.tail = tail
        self.target = target
        self.partial = b""


class ConsoleRelay:
    """Reads the console pipes of hosts on one daemon thread, started with the first of them."""

    def __init__(self, *, forward: bool) -> None:
        self._forward = forward
        self._lock = threading.Lock()  # guards _thread, _closed and the selector's map
        self._selector: selectors.BaseSelector | None = None
        self._wake_read = self._wake_write = -1
        self._thread: threading.Thread | None = None
        self._waiting: deque[tuple[int, _Source]] = deque()
        self._closed = False

    def add(
        self, name: str, *, stdout: int, stderr: int, faults: int, on_end: Callable[[], None]
    ) -> ConsoleTail:
        """Relay these descriptors until each is at its end, then call `on_end` (on the relay's
        thread), which closes them."""
        tail = ConsoleTail(name, 3, on_end)
        targets = (1, 2, None) if self._forward else (None, None, None)
        with self._lock:
            self._start()
            for fd, target in zip((stdout, stderr, faults), targets, strict=True):
                os.set_blocking(fd, False)
                self._waiting.append((fd, _Source(tail, target)))
            os.write(self._wake_write, b"+")
        return tail

    def close(self) -> None:
        """Have the thread end soon; descriptors that are still open are given up. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True  # before the thread is woken, which looks at it
            if self._thread is not None:
                os.write(self._wake_write, b"-")

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, for `timeout_s` at the longest: it may itself wait for
        somebody to read the server's console."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _start(self) -> None:
        if self._thread is not None:
            return
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(
            target=self._run, name="mpkernel-console-relay", daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        assert self._selector is not None
        selector = self._selector
        while not self._closed:
            for key, _ in selector.select():
                if key.fd == self._wake_read:
                    os.read(self._wake_read, 4096)
                elif not self._read(key.fd, key.data):
                    selector.unregister(key.fd)
                    key.data.tail.source_ended()
            while self._waiting:
                fd, source = self._waiting.popleft()
                selector.register(fd, selectors.EVENT_READ, source)
        self._give_up(selector)

    def _give_up(self, selector: selectors.BaseSelector) -> None:
        for fd, source in self._waiting:
            selector.register(fd, selectors.EVENT_READ, source)
        for key in list(selector.get_map().values()):
            if key.data is not None:
                while self._read(key.fd, key.data, wait=False):
                    pass
                key.data.tail.source_ended()
        selector.close()
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _read(self, fd: int, source: _Source, *, wait: bool = True) -> bool:
        """Relay what is there. False: there will be no more (or, without `wait`, is none now)."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return wait
        except OSError as error:
            logger.debug("console of %s: %s", source.tail.name, error)
            data = b""
        if not data:
            if source.partial:
                self._relay(source, source.partial)
                source.partial = b""
            return False
        *lines, source.partial = (source.partial + data).split(b"\n")
        for line in lines:
            self._relay(source, line)
        if len(source.partial) > _LINE_BYTES:
            self._relay(source, source.partial)
            source.partial = b""
        return True

    def _relay(self, source: _Source, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace")
        source.tail.add(text)
        if source.target is None:
            return
        stream = sys.__stdout__ if source.target == 1 else sys.__stderr__
        if stream is None:
            return
        try:
            stream.write(f"[{source.tail.name}] {text}\n")
            stream.flush()
        except (OSError, ValueError) as error:  # the server's own console is gone
            logger.debug("console of %s not relayed: %s", source.tail.name, error)
