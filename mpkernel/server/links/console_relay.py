"""`ConsoleRelay`: writes what hosts write to their descriptors 1 and 2 to the server's own.

One thread does this for all hosts of a pool. The event loop must not: the server's own descriptors
may be a terminal or a pipe that nobody reads, and then the thread has to wait, and with it the host
that prints. This file says how the thread waits for all pipes at once, and how it goes on when
other code has closed a descriptor that it waits with. `console_source` says what is done with the
text.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from mpkernel.server.links.console_source import ConsoleSource, StreamName
from mpkernel.server.links.console_tail import ConsoleTail

__all__ = ["ConsoleRelay", "OnText"]

logger = logging.getLogger(__name__)

OnText: TypeAlias = Callable[[StreamName, str, float], None]

_TRY_AGAIN_S = 0.1
_OUT_OF_MEMORY = (errno.ENOMEM, errno.ENOSPC)
_SELECTOR_OF_LINUX = getattr(selectors, "EpollSelector", ())
_DESCRIPTORS = "/proc/self/fd"
_lost_selectors: list[selectors.BaseSelector] = []
"""Selectors whose descriptor other code has closed. They are kept for ever: collecting one would
close the number of its descriptor again, which may belong to another file by now."""


class ConsoleRelay:
    """Reads the console pipes of hosts on one daemon thread, started with the first of them."""

    def __init__(self, *, forward: bool, as_json: bool = False) -> None:
        self._forward = forward
        self._as_json = as_json
        self._lock = threading.Lock()  # guards _thread, _closed and the pipe that wakes the thread
        self._selector: selectors.BaseSelector | None = None
        self._wake_read = self._wake_write = -1
        self._thread: threading.Thread | None = None
        self._waiting: deque[ConsoleSource] = deque()
        self._sources: dict[int, ConsoleSource] = {}  # what is read, by descriptor; the thread's
        self._is_failing = False
        self._closed = False

    def add(
        self,
        name: str,
        *,
        app: str,
        pid: int,
        stdout: int,
        stderr: int,
        faults: int,
        on_text: OnText,
        on_end: Callable[[], None],
    ) -> ConsoleTail:
        """Relay these descriptors until each is at its end, then call `on_end`, which closes them.
        `on_text` is given what comes from stdout and stderr, as `ConsoleSource` says. Both are
        called on the relay's thread, must not wait and must not raise.

        Raises:
            OSError, RuntimeError: no descriptor or thread is left, or the relay is closed. Nothing
                was done.
        """
        tail = ConsoleTail(name, app, pid, 3, on_end)
        out, err = functools.partial(on_text, "stdout"), functools.partial(on_text, "stderr")
        source = functools.partial(
            ConsoleSource, tail=tail, forward=self._forward, as_json=self._as_json
        )
        sources = (
            source(stdout, stream="stdout", on_text=out),
            source(stderr, stream="stderr", on_text=err),
            source(faults, stream=None),
        )
        with self._lock:
            if self._closed:  # the descriptor that wakes the thread may have been closed and reused
                raise RuntimeError("the relay of this server's console is closed")
            self._start()
            for one in sources:
                os.set_blocking(one.fd, False)
                self._waiting.append(one)
            os.write(self._wake_write, b"+")
        return tail

    def close(self) -> None:
        """Have the thread end soon. Descriptors that are still open are not read any more.
        Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True  # set before the thread is woken, which checks it
            if self._thread is not None:
                os.write(self._wake_write, b"-")

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, for `timeout_s` at the longest: the thread may itself
        wait until somebody reads the server's console."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _start(self) -> None:
        if self._thread is not None:
            return
        self._selector = selectors.DefaultSelector()
        try:
            self._wake_read, self._wake_write = os.pipe()
            os.set_blocking(self._wake_read, False)
            self._selector.register(self._wake_read, selectors.EVENT_READ)
            thread = threading.Thread(target=self._run, name="mpkernel-console-relay", daemon=True)
            thread.start()
        except BaseException:
            self._selector.close()
            for fd in (self._wake_read, self._wake_write):
                if fd >= 0:
                    os.close(fd)
            self._wake_read = self._wake_write = -1
            raise
        self._thread = thread

    def _run(self) -> None:
        while not self._closed:
            try:
                self._read_what_comes()
                self._is_failing = False
            except Exception:  # of the selector; without this thread, no console would be read
                if not self._is_failing:
                    logger.exception("the consoles of all apps could not be waited for")
                self._is_failing = True
                self._wait_anew()
        self._give_up()

    def _read_what_comes(self) -> None:
        if self._selector is None:
            raise OSError("there is nothing to wait with")
        while self._waiting:
            self._register(self._waiting.popleft())
        for key, _ in self._selector.select():
            if key.data is None:
                os.read(key.fd, 4096)
            elif not key.data.read():
                self._selector.unregister(key.fd)
                del self._sources[key.fd]
                key.data.end()

    def _register(self, source: ConsoleSource) -> None:
        assert self._selector is not None
        if (before := self._sources.pop(source.fd, None)) is not None:
            # `on_end` is not called: it would close this number, which belongs to other code now.
            logger.error("the console of %s was closed by somebody else", before.name)
            self._selector.unregister(source.fd)
        self._sources[source.fd] = source
        # `_wait_anew` finds out whether the selector or this descriptor is at fault.
        self._selector.register(source.fd, selectors.EVENT_READ, source)

    def _wait_anew(self) -> None:
        """Replace a selector that fails. If that fails, too, the next turn tries it again."""
        time.sleep(_TRY_AGAIN_S)
        if self._selector is not None:
            self._close(self._selector)
            self._selector = None  # also where no new one can be made: it is closed only once
        selector = None
        try:
            selector = selectors.DefaultSelector()
            for source in list(self._sources.values()):
                self._register_again(source, selector)
            if not _is_open(self._wake_read):
                with self._lock:
                    self._wake_read, self._wake_write = os.pipe()
                    os.set_blocking(self._wake_read, False)
            selector.register(self._wake_read, selectors.EVENT_READ)
            self._selector = selector
        except (OSError, ValueError) as error:
            logger.debug("the consoles of all apps cannot be waited for: %s", error)
            if selector is not None:
                self._close(selector)

    def _register_again(self, source: ConsoleSource, selector: selectors.BaseSelector) -> None:
        try:
            selector.register(source.fd, selectors.EVENT_READ, source)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _OUT_OF_MEMORY:
                raise
            logger.warning("the console of %s cannot be read: %s", source.name, error)
            del self._sources[source.fd]
            source.end()

    def _close(self, selector: selectors.BaseSelector) -> None:
        if _is_closed_by_another(selector):
            _lost_selectors.append(selector)
            return
        selector.close()

    def _give_up(self) -> None:
        self._sources.update((source.fd, source) for source in self._waiting)
        for source in self._sources.values():
            while source.read(wait=False):
                pass
            source.end()
        if self._selector is not None:
            self._close(self._selector)
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _is_closed_by_another(selector: selectors.BaseSelector) -> bool:
    """Whether other code has closed the selector's descriptor, so that its number may belong to
    another file. Linux only."""
    if not (isinstance(selector, _SELECTOR_OF_LINUX) and os.path.isdir(_DESCRIPTORS)):
        return False
    try:
        return os.readlink(f"{_DESCRIPTORS}/{selector.fileno()}") != "anon_inode:[eventpoll]"
    except OSError:
        return True
