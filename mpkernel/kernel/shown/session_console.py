"""What a session prints: many writes, few messages.

    print ─▶ CellStream ─▶ SessionConsole (a buffer) ─▶ Console messages
    descriptors 1 and 2 ────▶ ▲      ▲ every 20 ms, when it is large, and at a cell's end

The buffer is flushed by the thread that prints once it holds 64 KiB: so who prints faster than the
client reads waits at the session's window, and memory stays bounded. Who writes to the descriptors
does not wait here: what is too much of that is dropped. What is old is flushed by `flusher`.
"""

from __future__ import annotations

import codecs
import io
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, Protocol, SupportsIndex, TextIO

from mpkernel.interrupts.sending import Interrupts
from mpkernel.kernel.messages import Console, encode
from mpkernel.kernel.shown.flusher import flush_soon

__all__ = ["CellStream", "SessionConsole", "SessionStream"]

_StreamName = Literal["stdout", "stderr"]

_FLUSH_CHARS = 64 * 1024
_OFFERED_CHARS = 8 * 1024 * 1024
_OFFERED_TEXTS = 64 * 1024
_NO_THREAD = 0
_CUT = "\n[mpkernel: too much text at once; what is missing here is in the app's log]\n"


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

    @property
    def may_wait(self) -> bool:
        """Whether the calling thread may wait for the client now."""
        ...

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
        self._taken_texts = 0
        self._buffering = threading.RLock()  # guards these, but that anybody may append
        self._chars = 0  # about: a hint for when to flush
        self._flushing = threading.RLock()  # guards these, and who takes from the left
        self._unsent: bytes | None = None
        self._sent_texts = 0
        self._is_cut = False  # touched by the one thread that offers
        self.is_waiting = False

    def write(self, stream: _StreamName, cell: str, text: str) -> None:
        """Buffer text. Where much is buffered, the code's own threads wait until it is sent; a
        `__del__` that the collector runs in the middle of anything, or on another session's thread,
        never waits."""
        thread = threading.get_ident()
        is_inside: bool = self._buffering._is_owned()  # type: ignore[attr-defined]
        if is_inside:
            self._texts.append(_Text(stream, cell, text, thread))
        else:
            with self._buffering:
                self._append(stream, cell, text, thread)
        self._chars += len(text)
        if self._chars >= _FLUSH_CHARS and not is_inside and self._transport.may_wait:
            self.flush()
        else:
            flush_soon(self)

    def offer(self, stream: _StreamName, cell: str, text: str) -> None:
        """Buffer text that no thread of the session's printed. For one thread, which must not wait:
        where too much waits already, text is dropped until that is sent, and this is said once."""
        if self._is_cut and (self._texts or self._unsent is not None):
            return
        self._is_cut = self._chars > _OFFERED_CHARS or len(self._texts) > _OFFERED_TEXTS
        if self._is_cut:
            text = _CUT
        self._texts.append(_Text(stream, cell, text, _NO_THREAD))
        self._chars += len(text)
        flush_soon(self)

    def flush(self) -> None:
        """Send all that is buffered. Within itself, called by a `__del__`, it leaves that to the
        outer call."""
        if self._flushing._is_owned():  # type: ignore[attr-defined]
            return
        end = self._end()
        while not self._try_flush_to(end):
            unsent = self._unsent
            self._transport.wait_for_room(len(unsent) if unsent is not None else 0)

    def try_flush(self) -> bool:
        """Send what is buffered, as far as the client takes it now; returns whether that was all.
        Waits for no client."""
        return self._try_flush_to(self._end())

    def _end(self) -> int:
        """Behind which text what is buffered ends. Who flushes goes no further: more may come for
        as long as something writes to the descriptors."""
        with self._buffering:
            return self._taken_texts + len(self._texts)

    def _try_flush_to(self, end: int) -> bool:
        with self._flushing:
            while self._sent_texts < end and (payload := self._next()) is not None:
                if not self._transport.try_send(payload, self._forget):
                    return False
            return True

    def _forget(self) -> None:
        self._unsent = None
        self._sent_texts = self._taken_texts

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
            self._taken_texts += len(texts)
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
        self._errors = super().errors
        self._line_buffering = self._name == "stderr"
        self._write_through = False
        self._write = write
        self._binary = _SessionBuffer(self)

    @property
    def errors(self) -> str:  # type: ignore[override]
        return self._errors

    @property
    def mode(self) -> str:
        return "w"

    @property
    def line_buffering(self) -> bool:
        return self._line_buffering

    @property
    def write_through(self) -> bool:
        return self._write_through

    def reconfigure(self, **options: Any) -> None:
        """Change what the stream says of itself: see `io.TextIOWrapper.reconfigure`. What is sent
        to the client is text, which has neither another encoding nor other ends of lines."""
        plain = io.TextIOWrapper(
            io.BytesIO(),
            encoding="utf-8",
            errors=self._errors,
            line_buffering=self._line_buffering,
            write_through=self._write_through,
        )
        plain.reconfigure(**options)
        self._errors = plain.errors or "strict"
        self._line_buffering = plain.line_buffering
        self._write_through = plain.write_through

    def read(self, size: int | None = -1, /) -> str:
        raise io.UnsupportedOperation("not readable")

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        raise io.UnsupportedOperation("not readable")

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return io.TextIOWrapper(io.BytesIO()).__reduce_ex__(protocol)  # which raises its error

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
        given: object = data
        if isinstance(given, str):
            raise TypeError("a bytes-like object is required, not 'str'")
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
