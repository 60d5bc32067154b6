"""`SessionConsole`: sends what a session prints. Many writes, few messages.

    print ─▶ CellStream ─▶ SessionConsole (a buffer) ─▶ Console messages
    descriptors 1 and 2 ────▶ ▲      ▲ every 20 ms, when it is large, and at a cell's end

When the buffer holds enough for a message, the thread that prints flushes it. So a thread that
prints faster than the client reads waits at the session's window, and memory stays bounded. Code
that writes to the descriptors does not wait: when there is too much of its text, some is dropped.
Text that has waited for 20 ms is flushed by `flusher`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol

from mpkernel.interrupts.sending import Interrupts
from mpkernel.kernel.messages import Console, encode
from mpkernel.kernel.shown.flusher import flush_soon
from mpkernel.wire.texts import PIECE_BYTES, most_bytes, pieces

__all__ = ["SessionConsole", "StreamName", "Transport"]

StreamName = Literal["stdout", "stderr"]

_OFFERED_BYTES = 8 * 1024 * 1024
_OFFERED_TEXTS = 64 * 1024
_NO_THREAD = 0
_CUT = "\n[mpkernel: too much text at once; what is missing here is in the app's log]\n"


class _Text:
    """Text that one thread has printed to one stream, up to the end of its line: the line grows
    here, so that no text of another thread comes between its parts. What is longer than a message
    is several of these.

    Attributes:
        size: how many bytes it has at the most, encoded.
    """

    __slots__ = ("cell", "parts", "size", "stream", "thread")

    def __init__(self, stream: StreamName, cell: str, text: str, thread: int) -> None:
        self.stream = stream
        self.cell = cell
        self.parts = [text]
        self.size = most_bytes(text)
        self.thread = thread


class Transport(Protocol):
    """Sends the console's messages."""

    @property
    def interrupts(self) -> Interrupts: ...

    @property
    def may_wait(self) -> bool:
        """Whether the calling thread may wait for the client now."""
        ...

    def try_send(self, payload: bytes, then: Callable[[], None]) -> bool:
        """If the client takes the message now, send it and call `then`; otherwise do neither.
        Returns whether it was sent."""
        ...

    def wait_for_room(self, count: int) -> None:
        """Wait until the client may take `count` bytes."""
        ...


class SessionConsole:
    """The console of one session, for any thread and for a `__del__` that prints. An interrupt
    neither loses nor repeats text: it leaves the buffer and enters the Pipe under one shield.

    Args:
        transport: sends its messages.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._texts: deque[_Text] = deque()
        self._lines: dict[int, _Text] = {}  # by thread: its line that has not ended
        self._taken_texts = 0
        self._buffering = threading.RLock()  # guards these; but any thread may append to _texts
        self._bytes = 0  # roughly: only to decide when to flush
        self._flushing = threading.RLock()  # guards these, and taking from _texts
        self._unsent: bytes | None = None
        self._sent_texts = 0
        self._is_cut = False  # used only by the one thread that calls `offer`
        self.is_waiting = False

    def write(self, stream: StreamName, cell: str, text: str) -> None:
        """Buffer text. When much is buffered, the session's own threads wait until it is sent. A
        `__del__` never waits: the garbage collector may run it in the middle of sending, or on a
        thread of another session."""
        thread = threading.get_ident()
        is_inside: bool = self._buffering._is_owned()  # type: ignore[attr-defined]
        if is_inside:
            self._texts.extend(_Text(stream, cell, piece, thread) for piece in pieces(text))
        else:
            with self._buffering:
                for piece in pieces(text):
                    self._append(stream, cell, piece, thread)
        self._bytes += most_bytes(text)
        if self._bytes >= PIECE_BYTES and not is_inside and self._transport.may_wait:
            self.flush()
        else:
            flush_soon(self)

    def offer(self, stream: StreamName, cell: str, text: str) -> None:
        """Buffer text that no thread of the session has printed. Only one thread calls this, and it
        must not wait: when too much text is buffered, more is dropped until that is sent, and a
        line in the text says so."""
        if self._is_cut and (self._texts or self._unsent is not None):
            return
        self._is_cut = self._bytes > _OFFERED_BYTES or len(self._texts) > _OFFERED_TEXTS
        if self._is_cut:
            text = _CUT
        self._texts.extend(_Text(stream, cell, piece, _NO_THREAD) for piece in pieces(text))
        self._bytes += most_bytes(text)
        flush_soon(self)

    def flush(self) -> None:
        """Send all that is buffered. A `__del__` may call this within itself, or within `write`:
        then it returns at once, and what is buffered is sent later."""
        if self._flushing._is_owned() or self._buffering._is_owned():  # type: ignore[attr-defined]
            return
        end = self._end()
        while not self._try_flush_to(end):
            unsent = self._unsent
            self._transport.wait_for_room(len(unsent) if unsent is not None else 0)

    def try_flush(self) -> bool:
        """Send what is buffered, as far as the client takes it now, without waiting. Returns
        whether that was all."""
        return self._try_flush_to(self._end())

    def _end(self) -> int:
        """The number of the last text that is buffered now. A flush ends there: as long as
        something writes to the descriptors, more text may come."""
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
        """The next message: the longest text of one stream and cell that one may have."""
        with self._transport.interrupts.shield():
            if self._unsent is None and self._texts:
                self._unsent = encode(self._taken())
            return self._unsent

    def _append(self, stream: StreamName, cell: str, text: str, thread: int) -> None:
        line = self._lines.get(thread)
        size = most_bytes(text)
        if (
            line is None
            or line.stream != stream
            or line.cell != cell
            or line.size + size > PIECE_BYTES
        ):
            line = _Text(stream, cell, text, thread)
            self._texts.append(line)
            self._lines[thread] = line
        else:
            line.parts.append(text)
            line.size += size
        if text.endswith("\n"):
            del self._lines[thread]

    def _taken(self) -> Console:
        with self._buffering:
            first = self._texts[0]
            texts: list[_Text] = []
            size = 0
            while self._texts:
                text = self._texts[0]
                is_alike = (text.stream, text.cell) == (first.stream, first.cell)
                if not is_alike or size + text.size > PIECE_BYTES:
                    break
                texts.append(self._texts.popleft())
                size += text.size
                if self._lines.get(text.thread) is text:
                    del self._lines[text.thread]
            self._taken_texts += len(texts)
            self._bytes = max(0, self._bytes - size) if self._texts else 0
        return Console(first.stream, "".join(p for t in texts for p in t.parts), first.cell)
