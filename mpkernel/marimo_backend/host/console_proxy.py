"""One `sys.stdout` for all sessions, of a class that marimo recognises.

marimo's kernel asks whether `sys.stdout` is its own `ThreadLocalStreamProxy` and, if so, sets the
stream of the calling thread there. Here a subclass of it is also mpkernel's `ConsoleProxy`, whose
streams are inherited by the threads that a cell starts.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import Any, Literal, Protocol, TextIO, cast

from mpkernel.host.console import ConsoleProxy
from mpkernel.marimo_backend import seam

__all__ = ["CellStream", "CellWatch", "make_proxy", "watch_cells"]

_AHEAD_CHARS = 1024 * 1024
_LOOK_AGAIN_S = 0.002
_CUT = "\n[mpkernel: the browser is behind; what is missing here is in the server's log]\n"

_bound = threading.local()


class CellWatch(Protocol):
    """Is told when the kernel on a thread runs a cell."""

    def began(self, name: Literal["stdout", "stderr"], stream: CellStream) -> None:
        """The thread's stream was set: a cell begins, or inside a cell a capture of it has
        ended."""

    def ended(self) -> None:
        """The thread's streams were removed: the cell has ended."""


def watch_cells(watch: CellWatch) -> None:
    """Have `watch` told of the cells that the kernel on the calling thread runs."""
    _bound.watch = watch


def make_proxy(original: TextIO, name: str) -> ConsoleProxy:
    """A `ConsoleProxy` that is also a `ThreadLocalStreamProxy`."""
    return _proxy_class()(original, name)  # type: ignore[no-any-return]


@functools.cache
def _proxy_class() -> Any:
    class MarimoConsoleProxy(ConsoleProxy, seam.host("ThreadLocalStreamProxy")):  # type: ignore[misc]
        def _set_stream(self, stream: Any) -> None:
            if not hasattr(getattr(stream, "_stream", None), "console_msg_queue"):
                self.set_stream(stream)
                return
            cell_stream = CellStream(stream)
            self.set_stream(cast(TextIO, cell_stream))
            watch: CellWatch | None = getattr(_bound, "watch", None)
            if watch is not None:
                watch.began("stderr" if self.name == "<stderr>" else "stdout", cell_stream)

        def _clear_stream(self) -> None:
            watch: CellWatch | None = getattr(_bound, "watch", None)
            if watch is not None:
                watch.ended()
            self.clear_stream()

        def _get_stream(self) -> Any:
            stream = self.current()
            return stream.inner if isinstance(stream, CellStream) else stream

    return MarimoConsoleProxy


class CellStream:
    """marimo's stdout or stderr of a kernel, as a thread of that kernel sees it.

    marimo's own stream writes under the cell that is running. A thread may outlive its cell, so it
    gets a copy that writes under the cell which started the thread.

    marimo buffers text without limit, for a thread of its own that sends it. Here a writer waits
    when more than 1 Mi characters wait for that thread, for example when a browser does not read.

    Attributes:
        inner: marimo's stream object.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self._unsent = inner._stream.console_msg_queue
        self._unsent_chars = 0
        self._is_cut = False

    @property
    def closed(self) -> bool:
        """Whether the kernel that took the output is gone."""
        return not self.inner._stream.buffered_console_thread.is_alive()

    def for_thread(self) -> CellStream:
        """A copy for a thread that is started now."""
        pinned = _PinnedStream(self.inner._stream)
        return CellStream(type(self.inner)(pinned, forward_os_streams=False))

    @property
    def cell(self) -> str:
        """The cell that it writes under."""
        return str(self.inner._stream.cell_id)

    def write(self, text: str) -> int:
        self._count(text)
        while self._is_ahead and not self.closed:
            time.sleep(_LOOK_AGAIN_S)
        return self.inner.write(text)  # type: ignore[no-any-return]

    def offer(self, text: str) -> None:
        """Write without waiting. When too much text waits, more is dropped, and a line says so."""
        self._count(text)
        if not self._is_ahead:
            self._is_cut = False
            self.inner.write(text)
        elif not self._is_cut:
            self._is_cut = True
            self.inner.write(_CUT)

    @property
    def _is_ahead(self) -> bool:
        return bool(self._unsent) and self._unsent_chars > _AHEAD_CHARS

    def _count(self, text: str) -> None:
        if not self._unsent:
            self._unsent_chars = 0
        self._unsent_chars += len(text)

    def flush(self) -> None:
        self.inner.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class _PinnedStream:
    """What the console uses of marimo's `ThreadSafeStream`, but always with the cell that ran when
    this was made."""

    def __init__(self, stream: Any) -> None:
        self.cell_id = stream.cell_id
        self.console_msg_cv = stream.console_msg_cv
        self.console_msg_queue = stream.console_msg_queue
        self.buffered_console_thread = stream.buffered_console_thread
        self.flush_console = stream.flush_console
