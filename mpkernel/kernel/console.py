"""What a session prints: many writes, few messages.

    print ─▶ CellStream ─▶ SessionConsole (a buffer) ─▶ Console messages
                                  ▲ every 20 ms, when it is large, and at a cell's end

The buffer is flushed by the thread that prints once it holds 64 KiB: so who prints faster than the
client reads waits at the session's window, and memory stays bounded. One thread for all sessions
flushes what is old; it never waits for a client: a session whose window is full comes again later.
"""

from __future__ import annotations

import codecs
import io
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol, TextIO

from mpkernel.kernel.interrupts import Interrupts
from mpkernel.kernel.messages import Console, encode

__all__ = ["CellStream", "SessionConsole", "SessionStream", "start_flusher"]

_StreamName = Literal["stdout", "stderr"]

_FLUSH_AFTER_S = 0.02
_FLUSH_CHARS = 64 * 1024
_NO_THREAD: dict[_StreamName, int] = {"stdout": -1, "stderr": -2}  # idents of none
_OFFERED_CHARS = 4 * 1024 * 1024
_CUT = "\n[mpkernel: text comes faster than it is taken; what is missing here is in the app's log]\n"


class _Text:
    """What one thread printed to one stream without a pause: a line grows here, so that another
    thread's text does not come between its parts."""

    __slots__ = ("cell", "chars", "parts", "stream", "thread")

    def __init__(self, stream: _StreamName, cell: str, text: str, thread: int) -> None:
        self.stream = stream
        self.cell = cell
        self.parts = [text]
        self.chars = len(text)
        self.thread = thread


class Transport(Protocol):
    """Where the console's messages go."""

    @property
    def interrupts(self) -> Interrupts: ...

    def try_send(self, payload: bytes, then: Callable[[], None]) -> bool:
        """Send if the client takes it now, and do what comes `then`: both or neither."""
        ...

    def wait_for_room(self, count: int) -> None:
        """Wait until the client may take `count` bytes."""
        ...


class SessionConsole:
    """The console of one session, for any thread and for a `__del__` that prints. An interrupt
    loses and repeats nothing: text leaves the buffer and enters the Pipe under one shield.

    Args:
        transport: where its messages go.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._texts: deque[_Text] = deque()
        self._lines: dict[int, _Text] = {}  # by thread, that which has not ended
        self._buffering = threading.RLock()  # guards both
        self._chars = 0  # about: a hint for when to flush
        self._flushing = threading.RLock()  # guards _unsent, and who takes from the left
        self._unsent: bytes | None = None
        self._is_cut = False  # the dispatcher's
        self.is_waiting = False  # for the flusher; to be flushed twice is harmless

    def write(self, stream: _StreamName, cell: str, text: str) -> None:
        """Buffer text."""
        thread = threading.get_ident()
        if self._buffering._is_owned():  # type: ignore[attr-defined]
            self._texts.append(_Text(stream, cell, text, thread))  # a `__del__` within this
        else:
            with self._buffering:
                self._append(stream, cell, text, thread)
        self._chars += len(text)
        if self._chars >= _FLUSH_CHARS:
            self.flush()
        else:
            _flush_soon(self)

    def offer(self, stream: _StreamName, cell: str, text: str) -> None:
        """Buffer text that no thread of the session's printed. For one thread, which must not wait:
        where too much waits already, text is dropped until that is sent, and this is said once."""
        if self._is_cut and (self._texts or self._unsent is not None):
            return
        self._is_cut = self._chars > _OFFERED_CHARS
        if self._is_cut:
            text = _CUT
        with self._buffering:
            self._append(stream, cell, text, _NO_THREAD[stream])
            self._chars += len(text)
        _flush_soon(self)

    def flush(self) -> None:
        """Send all that is buffered. Within itself, called by a `__del__`, it leaves that to the
        outer call."""
        if self._flushing._is_owned():  # type: ignore[attr-defined]
            return
        while not self.try_flush():
            unsent = self._unsent
            self._transport.wait_for_room(len(unsent) if unsent is not None else 0)

    def try_flush(self) -> bool:
        """Send what the client takes now; returns whether nothing is left. Waits for no client."""
        with self._flushing:
            while (payload := self._next()) is not None:
                if not self._transport.try_send(payload, self._forget):
                    return False
            return True

    def _forget(self) -> None:
        self._unsent = None

    def _next(self) -> bytes | None:
        """The next message: the longest piece of one stream and cell, up to about 64 KiB."""
        with self._transport.interrupts.shield():
            if self._unsent is None and self._texts:
                self._unsent = encode(self._taken())
            return self._unsent

    def _append(self, stream: _StreamName, cell: str, text: str, thread: int) -> None:
        line = self._lines.get(thread)
        if line is None or line.stream != stream or line.cell != cell:
            line = _Text(stream, cell, text, thread)
            self._texts.append(line)
            self._lines[thread] = line
        else:
            line.parts.append(text)
            line.chars += len(text)
        if text.endswith("\n") or line.chars >= _FLUSH_CHARS:
            del self._lines[thread]

    def _taken(self) -> Console:
        with self._buffering:
            first = self._texts[0]
            texts: list[_Text] = []
            chars = 0
            while chars < _FLUSH_CHARS and self._texts:
                text = self._texts[0]
                if (text.stream, text.cell) != (first.stream, first.cell):
                    break
                texts.append(self._texts.popleft())
                chars += text.chars
                if self._lines.get(text.thread) is text:
                    del self._lines[text.thread]
            self._chars = max(0, self._chars - chars) if self._texts else 0
        return Console(first.stream, "".join(p for t in texts for p in t.parts), first.cell)


class _ConsoleFile(io.TextIOBase):
    """What `sys.stdout` and `sys.stderr` say of themselves."""

    def __init__(self, name: _StreamName) -> None:
        self._name: _StreamName = name

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "strict" if self._name == "stdout" else "backslashreplace"

    @property
    def name(self) -> str:
        return f"<{self._name}>"

    def writable(self) -> bool:
        return True


class CellStream(_ConsoleFile):
    """`sys.stdout` or `sys.stderr` of the code of one cell, and of the threads it starts.

    Attributes:
        place: whose it is.
        replacement: what the code has set `sys.stdout` (or `stderr`) to, in a list of one that all
            streams of the session share; empty when it has not.
    """

    def __init__(
        self,
        place: object,
        name: _StreamName,
        cell: str,
        console: SessionConsole,
        replacement: list[TextIO | None],
    ) -> None:
        super().__init__(name)
        self.place = place
        self.replacement = replacement
        self._cell = cell
        self._console = console

    def for_thread(self) -> CellStream:
        """The same: a thread prints under the cell that started it."""
        return self

    def write(self, text: str) -> int:
        if self.replacement:
            if self.replacement[0] is None:
                return len(text)  # `sys.stdout = None`: print does nothing
            return self.replacement[0].write(text)
        return self.write_past(text)

    def write_past(self, text: str) -> int:
        """Write whatever the code has set."""
        written = text
        if not text.isascii():  # a lone surrogate is nothing that can be sent
            written = text.encode(self.encoding, self.errors).decode(self.encoding)
        self._console.write(self._name, self._cell, written)
        return len(text)

    def flush(self) -> None:
        if self.replacement and self.replacement[0] is not None:
            self.replacement[0].flush()


class SessionStream(_ConsoleFile):
    """What a session's code finds as `sys.stdout` or `sys.stderr`, and may keep: it goes to the
    session's console whatever `sys.stdout` is set to meanwhile.

    Args:
        name: which.
        write: writes text past all that was set.
    """

    def __init__(self, name: _StreamName, write: Callable[[str], int]) -> None:
        super().__init__(name)
        self._write = write
        self._binary = _SessionBuffer(self)

    @property
    def mode(self) -> str:
        return "w"

    @property
    def buffer(self) -> io.BufferedIOBase:
        return self._binary

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        return self._write(text)

    def fileno(self) -> int:
        """The process's own: where subprocesses and C code write."""
        return 1 if self._name == "stdout" else 2

    def close(self) -> None:
        """Nothing: the console is closed with its session."""


class _SessionBuffer(io.BufferedIOBase):
    """Bytes in any pieces, whole characters out."""

    def __init__(self, stream: SessionStream) -> None:
        self._stream = stream
        self._decoders = threading.local()

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        decoder = getattr(self._decoders, "utf_8", None)
        if decoder is None:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            self._decoders.utf_8 = decoder
        payload = memoryview(data).tobytes()
        if text := decoder.decode(payload):
            self._stream.write(text)
        return len(payload)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        """Nothing, as the text side."""


class _Flusher:
    """The thread that flushes what is old, for all sessions of the process."""

    def __init__(self) -> None:
        self._dirty: deque[SessionConsole] = deque()  # single operations, each one atomic
        self._added = threading.Semaphore(0)
        threading.Thread(target=self._run, name="mpkernel-console", daemon=True).start()

    def add(self, console: SessionConsole) -> None:
        self._dirty.append(console)
        self._added.release()

    def _run(self) -> None:
        while True:
            self._added.acquire()
            time.sleep(_FLUSH_AFTER_S)
            console = self._dirty.popleft()
            console.is_waiting = False
            if not console.try_flush():
                time.sleep(_FLUSH_AFTER_S)
                self._again(console)

    def _again(self, console: SessionConsole) -> None:
        if not console.is_waiting:
            console.is_waiting = True
            self.add(console)


_flusher: _Flusher | None = None
_flusher_lock = threading.Lock()


def start_flusher() -> None:
    """Have the thread that flushes run already when somebody writes. Idempotent."""
    global _flusher
    with _flusher_lock:
        if _flusher is None:
            _flusher = _Flusher()


def _flush_soon(console: SessionConsole) -> None:
    if console.is_waiting:
        return
    console.is_waiting = True
    if _flusher is None:
        start_flusher()
    assert _flusher is not None
    _flusher.add(console)
