"""One `sys.stdout` for all sessions, of a class that marimo recognises.

marimo's kernel asks whether `sys.stdout` is its own `ThreadLocalStreamProxy` and, if so, sets the
stream of the calling thread there. Here a subclass of it is also mpkernel's `ConsoleProxy`, whose
streams are inherited by the threads that a cell starts.
"""

from __future__ import annotations

import functools
import threading
from typing import Any, Literal, Protocol, TextIO, cast

from mpkernel.host.console import ConsoleProxy
from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.host.printing import Prints
from mpkernel.own_clock import sleep

__all__ = ["CellStream", "CellWatch", "make_proxy", "watch_cells"]

_LOOK_AGAIN_S = 0.002
_CUT = "\n[mpkernel: the browser is behind; what is missing here is in the server's log]\n"

_bound = threading.local()

_Name = Literal["stdout", "stderr"]


class CellWatch(Protocol):
    """Is called when the kernel on a thread begins a cell, and when the cell has ended."""

    def began(self, name: _Name, stream: CellStream) -> None:
        """The thread's stream was set: a cell begins, or inside a cell a capture of it has
        ended."""

    def ended(self) -> None:
        """The thread's streams were removed: the cell has ended."""


def watch_cells(watch: CellWatch) -> None:
    """Have `watch` called for the cells that the kernel on the calling thread runs."""
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
            prints = getattr(_bound, "prints", None)
            if prints is None:
                prints = _bound.prints = Prints()
            name: _Name = "stderr" if self.name == "<stderr>" else "stdout"
            cell_stream = CellStream(stream, name, prints)
            self.set_stream(cast(TextIO, cell_stream))
            watch: CellWatch | None = getattr(_bound, "watch", None)
            if watch is not None:
                watch.began(name, cell_stream)

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

    A writer waits when more than 1 Mi characters wait for marimo's thread, for example because a
    browser does not read.

    Args:
        inner: marimo's stream object.
        name: whether it is the stdout or the stderr.
        prints: what the kernel prints.

    Attributes:
        inner: marimo's stream object.
    """

    def __init__(self, inner: Any, name: _Name, prints: Prints) -> None:
        self.inner = inner
        self._name = name
        self._prints = prints
        self._is_cut = False

    @property
    def closed(self) -> bool:
        """Whether the kernel that took the output is gone."""
        return not self.inner._stream.buffered_console_thread.is_alive()

    def for_thread(self) -> CellStream:
        """A copy for a thread that is started now."""
        pinned = _PinnedStream(self.inner._stream)
        kind: Any = type(self.inner)
        inner = _copy_class(kind)(pinned, forward_os_streams=False)
        return CellStream(inner, self._name, self._prints)

    @property
    def cell(self) -> str:
        """The cell that it writes under."""
        return str(self.inner._stream.cell_id)

    def write(self, text: str) -> int:
        while self._prints.is_ahead(self.inner) and not self.closed:
            sleep(_LOOK_AGAIN_S)
        if not self._prints.add(self, self.inner, text):
            self._prints.queue(self, self.inner, self._name, text)
        return len(text)

    def offer(self, text: str) -> None:
        """Write without waiting. When too much text waits, more is dropped, and a line says so."""
        was_cut, self._is_cut = self._is_cut, self._prints.is_ahead(self.inner)
        if was_cut and self._is_cut:
            return
        self._prints.queue(self, self.inner, self._name, _CUT if self._is_cut else text)

    def flush(self) -> None:
        self.inner.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@functools.cache
def _copy_class(kind: Any) -> Any:
    if getattr(kind, "is_mpkernels", False):
        return kind

    class Copy(kind):  # type: ignore[misc]
        is_mpkernels = True

        def __del__(self) -> None:
            """Nothing: the kernel's own stream flushes what was written. A file of Python's flushes
            when it is collected, which may be on marimo's thread while that holds its lock: then
            the thread would wait for itself."""

    return Copy


class _PinnedStream:
    """What the console uses of marimo's `ThreadSafeStream`, but always with the cell that ran when
    this was made."""

    def __init__(self, stream: Any) -> None:
        self.cell_id = stream.cell_id
        self.console_msg_cv = stream.console_msg_cv
        self.console_msg_queue = stream.console_msg_queue
        self.buffered_console_thread = stream.buffered_console_thread
        self.flush_console = stream.flush_console
