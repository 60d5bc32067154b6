"""The files that a session's code finds as `sys.stdout` and `sys.stderr`. They write to its
console."""

from __future__ import annotations

import codecs
import io
import threading
from collections.abc import Callable
from typing import Any, SupportsIndex, TextIO, cast

from mpkernel.kernel.process.session_streams import StreamOfSession
from mpkernel.kernel.shown.session_console import SessionConsole, StreamName

__all__ = ["CellStream", "SessionStream", "StandardStream"]


class _ConsoleFile(io.TextIOBase):
    """What both kinds of files have in common: their attributes."""

    def __init__(self, name: StreamName) -> None:
        self._name: StreamName = name

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def name(self) -> str:
        return f"<{self._name}>"

    def writable(self) -> bool:
        return True


class CellStream(_ConsoleFile):
    """`sys.stdout` or `sys.stderr` of the code of one cell, and of the threads it starts.

    Attributes:
        place: the run of the cell.
    """

    def __init__(
        self,
        place: object,
        name: StreamName,
        cell: str,
        console: SessionConsole,
        standard: StreamOfSession,
    ) -> None:
        super().__init__(name)
        self.place = place
        self._standard = standard
        self._cell = cell
        self._console = console

    @property
    def errors(self) -> str:  # type: ignore[override]
        return self._standard.own.errors or "strict"

    def for_thread(self) -> CellStream:
        """This stream: what a thread prints belongs to the cell that started it."""
        return self

    def write(self, text: str) -> int:
        replacement = self._standard.replacement
        if replacement:
            if replacement[0] is None:
                return len(text)  # `sys.stdout = None`: print does nothing
            return replacement[0].write(text)
        return self.write_past(text)

    def write_past(self, text: str) -> int:
        """Write to the console, whatever `sys.stdout` (or `stderr`) is set to."""
        written = text
        if not text.isascii():  # a lone surrogate cannot be sent
            written = text.encode(self.encoding, self.errors).decode(self.encoding, "replace")
        self._console.write(self._name, self._cell, written)
        return len(text)

    def flush(self) -> None:
        replacement = self._standard.replacement
        if replacement and replacement[0] is not None:
            replacement[0].flush()


class SessionStream(_ConsoleFile):
    """The file that a session's code finds as `sys.stdout` or `sys.stderr`. The code may keep it:
    it always writes to a console, whatever `sys.stdout` is set to. It is the console of the session
    that writes: the first session that configures `logging` gives the process a handler with its
    own file, and what others log is not for its client.

    Args:
        name: "stdout" or "stderr".
        write: writes text to the console.
    """

    def __init__(self, name: StreamName, write: Callable[[str], int]) -> None:
        super().__init__(name)
        self._errors = "strict" if name == "stdout" else "backslashreplace"
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
        """Change the attributes of the stream; see `io.TextIOWrapper.reconfigure`. What is sent to
        the client does not change: it is text, without an encoding or line ends of its own."""
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

    def detach(self) -> io.BufferedIOBase:  # type: ignore[override]
        """The binary file, to be wrapped in another text file. This one stays as it is: other code
        of the session may have it."""
        return self._binary

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        return self._write(text)

    def fileno(self) -> int:
        """The descriptor of the process: where subprocesses and C code write."""
        return 1 if self._name == "stdout" else 2

    def close(self) -> None:
        """Does nothing: the console is closed with its session."""


class StandardStream:
    """`sys.stdout` or `sys.stderr` of a session.

    Attributes:
        own: the stream until the code sets another one.
        replacement: a list whose one item is what the code has set; empty if it has set nothing.
    """

    def __init__(
        self,
        name: StreamName,
        write: Callable[[StreamName, str], int],
    ) -> None:
        self.own = cast(TextIO, SessionStream(name, lambda text: write(name, text)))
        self.replacement: list[TextIO | None] = []


class _SessionBuffer(io.BufferedIOBase):
    """The binary file of a stream: takes bytes in any pieces, and writes whole characters."""

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
        """Does nothing, as with the text file."""
