"""`sys.stdout` by session, in a form that marimo recognises.

marimo's kernel asks whether `sys.stdout` is its own `ThreadLocalStreamProxy` and, if so, sets the
stream of the calling thread there. Here that class is given mpkernel's dispatcher, whose streams
are inherited by the threads that a cell starts.
"""

from __future__ import annotations

import functools
from typing import Any, TextIO, cast

from mpkernel.host.console import ConsoleProxy
from mpkernel.marimo_backend import seam

__all__ = ["make_proxy"]


def make_proxy(original: TextIO, name: str) -> ConsoleProxy:
    """A `ConsoleProxy` that is a `ThreadLocalStreamProxy` too."""
    return _proxy_class()(original, name)  # type: ignore[no-any-return]


@functools.cache
def _proxy_class() -> Any:
    class MarimoConsoleProxy(ConsoleProxy, seam.host("ThreadLocalStreamProxy")):  # type: ignore[misc]
        def _set_stream(self, stream: Any) -> None:
            inherits = hasattr(getattr(stream, "_stream", None), "console_msg_queue")
            self.set_stream(cast(TextIO, CellStream(stream)) if inherits else stream)

        def _clear_stream(self) -> None:
            self.clear_stream()

        def _get_stream(self) -> Any:
            stream = self.current()
            return stream.inner if isinstance(stream, CellStream) else stream

    return MarimoConsoleProxy


class CellStream:
    """marimo's stdout or stderr of a kernel, as a thread of that kernel sees it.

    marimo's own writes under the cell that is running. A thread outlives its cell, so that it gets
    a copy which goes on writing under the cell that started it.

    Attributes:
        inner: marimo's stream object.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def closed(self) -> bool:
        """Whether the kernel that took the output is gone."""
        return not self.inner._stream.buffered_console_thread.is_alive()

    def for_thread(self) -> CellStream:
        """The copy for a thread that is started now."""
        pinned = _PinnedStream(self.inner._stream)
        return CellStream(type(self.inner)(pinned, forward_os_streams=False))

    def write(self, text: str) -> int:
        return self.inner.write(text)  # type: ignore[no-any-return]

    def flush(self) -> None:
        self.inner.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class _PinnedStream:
    """The console side of marimo's `ThreadSafeStream`, with the cell of its beginning."""

    def __init__(self, stream: Any) -> None:
        self.cell_id = stream.cell_id
        self.console_msg_cv = stream.console_msg_cv
        self.console_msg_queue = stream.console_msg_queue
        self.buffered_console_thread = stream.buffered_console_thread
        self.flush_console = stream.flush_console
