"""`ConsoleRelay`: what hosts write to their descriptors 1 and 2 goes to the server's own.

One thread for all hosts of a pool, off the loop: the server's own descriptors may be a terminal
or a pipe that nobody reads, and then it is this thread that waits, and the host that prints.
Each line gets the app's name before it, or becomes one of JSON; the last lines are kept for the
report of a death. What was read at once is handled at once: a line costs no Python code of its own,
unless it becomes JSON.
"""

from __future__ import annotations

import codecs
import functools
import logging
import os
import selectors
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Literal, TextIO, TypeAlias

from mpkernel.json_lines import printed_lines

__all__ = ["ConsoleRelay", "ConsoleTail", "OnText", "StreamName"]

logger = logging.getLogger(__name__)

StreamName: TypeAlias = Literal["stdout", "stderr"]
OnText: TypeAlias = Callable[[StreamName, str, float], None]

_READ_BYTES = 64 * 1024
_LINE_CHARS = 16 * 1024
_TAIL_LINES = 40
_FAULT_LINES = 1000
_FAULT_BEGINS = "Fatal Python error: "
_TRY_AGAIN_S = 0.1


class ConsoleTail:
    """The last lines that a host wrote, and where its descriptors stand.

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

    def add(self, lines: Iterable[str]) -> None:
        """The relay's: more lines."""
        self._lines.extend(lines)

    def faults(self) -> str:
        """What faulthandler wrote last, at most 1,000 lines. From any thread.

        A fork that C code makes shares the descriptor and writes there when it crashes. A process
        that crashes writes its own report last, so an earlier one is never its own.
        """
        return "\n".join(self._faults)

    def add_faults(self, lines: Iterable[str]) -> None:
        """The relay's: more lines of faulthandler's."""
        for line in lines:
            if line.startswith(_FAULT_BEGINS):
                self._faults = []
            if len(self._faults) < _FAULT_LINES:
                self._faults.append(line)

    def source_ended(self) -> None:
        """The relay's: one of the descriptors is at its end."""
        self._open_sources -= 1
        if self._open_sources == 0:
            try:
                self._on_end()
            finally:
                self.ended.set()


class _Source:
    def __init__(
        self,
        tail: ConsoleTail,
        target: int | None,
        on_text: Callable[[str, float], None] | None,
    ) -> None:
        self.tail = tail
        self.target = target
        self.on_text = on_text
        self.decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self.partial = ""  # a line that has not ended
        self.is_failing = False


class ConsoleRelay:
    """Reads the console pipes of hosts on one daemon thread, started with the first of them."""

    def __init__(self, *, forward: bool, as_json: bool = False) -> None:
        self._forward = forward
        self._as_json = as_json
        self._lock = threading.Lock()  # guards _thread, _closed and the pipe that wakes the thread
        self._selector: selectors.BaseSelector | None = None
        self._wake_read = self._wake_write = -1
        self._thread: threading.Thread | None = None
        self._waiting: deque[tuple[int, _Source]] = deque()
        self._sources: dict[int, _Source] = {}  # what is read, by descriptor; the thread's
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
        `OSError` or `RuntimeError`, and nothing done, where no descriptor or thread is left for it,
        or the relay is closed.

        `on_text` is given what comes from stdout and stderr, whole characters in pieces as they are
        read, before anybody else, and the `time.monotonic()` of the reading. Both are called on the
        relay's thread, must not wait and must not raise.
        """
        tail = ConsoleTail(name, app, pid, 3, on_end)
        targets = (1, 2) if self._forward else (None, None)
        out, err = functools.partial(on_text, "stdout"), functools.partial(on_text, "stderr")
        sources = (
            (stdout, _Source(tail, targets[0], out)),
            (stderr, _Source(tail, targets[1], err)),
            (faults, _Source(tail, None, None)),
        )
        with self._lock:
            if self._closed:  # the number that would wake the thread may be another's by now
                raise RuntimeError("the relay of this server's console is closed")
            self._start()
            for fd, source in sources:
                os.set_blocking(fd, False)
                self._waiting.append((fd, source))
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
            except Exception:  # of the selector: with this thread, every app's console would end
                if not self._is_failing:
                    logger.exception("the consoles of all apps could not be waited for")
                self._is_failing = True
                self._wait_anew()
        self._give_up()

    def _read_what_comes(self) -> None:
        assert self._selector is not None
        for key, _ in self._selector.select():
            if key.data is None:
                os.read(key.fd, 4096)
            elif not self._read_guarded(key.fd, key.data):
                self._selector.unregister(key.fd)
                del self._sources[key.fd]
                _end(key.data)
        while self._waiting:
            self._register(*self._waiting.popleft())

    def _register(self, fd: int, source: _Source) -> None:
        assert self._selector is not None
        if (before := self._sources.pop(fd, None)) is not None:
            # Its end is not told: its descriptors would be closed then, and this one is another's.
            logger.error("the console of %s was closed by somebody else", before.tail.name)
            self._selector.unregister(fd)
        try:
            self._selector.register(fd, selectors.EVENT_READ, source)
        except (OSError, ValueError):
            logger.exception("the console of %s cannot be read", source.tail.name)
            _end(source)
        else:
            self._sources[fd] = source

    def _wait_anew(self) -> None:
        """Replace a selector that fails. Where that fails too, the next turn tries it again."""
        assert self._selector is not None
        time.sleep(_TRY_AGAIN_S)
        _close(self._selector)
        selector = None
        try:
            selector = selectors.DefaultSelector()
            for fd, source in list(self._sources.items()):
                if _is_open(fd):
                    selector.register(fd, selectors.EVENT_READ, source)
                else:
                    del self._sources[fd]
                    _end(source)
            if not _is_open(self._wake_read):
                with self._lock:
                    self._wake_read, self._wake_write = os.pipe()
                    os.set_blocking(self._wake_read, False)
            selector.register(self._wake_read, selectors.EVENT_READ)
            self._selector = selector
        except (OSError, ValueError) as error:
            logger.debug("the consoles of all apps cannot be waited for: %s", error)
            if selector is not None:
                _close(selector)

    def _give_up(self) -> None:
        self._sources.update(self._waiting)
        for fd, source in self._sources.items():
            while self._read_guarded(fd, source, wait=False):
                pass
            _end(source)
        assert self._selector is not None
        _close(self._selector)
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _read_guarded(self, fd: int, source: _Source, *, wait: bool = True) -> bool:
        """`_read`. What it read is lost if that raises: the thread goes on, for all other apps."""
        try:
            goes_on = self._read(fd, source, wait=wait)
        except Exception:
            if not source.is_failing:
                logger.exception("console output of %s is lost for now", source.tail.name)
            source.is_failing = True
            source.partial = ""
            return True
        if source.is_failing and goes_on:
            logger.warning("console output of %s is relayed again", source.tail.name)
            source.is_failing = False
        return goes_on

    def _read(self, fd: int, source: _Source, *, wait: bool = True) -> bool:
        """Relay what is there. False: there will be no more (or, without `wait`, is none now)."""
        read_at_s = time.monotonic()  # not after: to take the GIL again may take a while
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return wait
        except OSError as error:
            logger.debug("console of %s: %s", source.tail.name, error)
            data = b""
        at_end = not data
        text = source.decoder.decode(data, at_end)
        if text and source.on_text is not None:
            source.on_text(text, read_at_s)
        text = source.partial + text
        lines_end = text.rfind("\n") + 1
        if at_end or len(text) - lines_end > _LINE_CHARS:
            lines_end = len(text)
        lines, source.partial = text[:lines_end], text[lines_end:]
        if lines:
            self._relay(source, lines.removesuffix("\n"))
        return not at_end

    def _relay(self, source: _Source, lines: str) -> None:
        if source.on_text is None:
            source.tail.add_faults(lines.split("\n"))
            return
        source.tail.add(lines.rsplit("\n", _TAIL_LINES)[-_TAIL_LINES:])
        if source.target is None:
            return
        stream = sys.__stdout__ if source.target == 1 else sys.__stderr__
        if stream is None:
            return
        try:
            if self._as_json:
                _write_json(stream, source, lines)
            else:
                name = f"[{source.tail.name}] "
                _write(stream, name + lines.replace("\n", "\n" + name) + "\n")
        except (OSError, ValueError) as error:  # the server's own console is gone
            logger.debug("console of %s not relayed: %s", source.tail.name, error)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _close(selector: selectors.BaseSelector) -> None:
    try:
        selector.close()
    except OSError as error:  # somebody else has closed its descriptor
        logger.debug("%s", error)


def _end(source: _Source) -> None:
    try:
        source.tail.source_ended()
    except Exception:
        logger.exception("the end of the console of %s was not handled", source.tail.name)


def _write_json(stream: TextIO, source: _Source, lines: str) -> None:
    tail = source.tail
    name = "stdout" if source.target == 1 else "stderr"
    text = printed_lines(name, lines.split("\n"), pid=tail.pid, app=tail.app)
    stream.buffer.write(text.encode())  # JSON is UTF-8, whatever a console's encoding is
    stream.flush()


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # one character must not cost all that was read with it
        encoding = stream.encoding
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
