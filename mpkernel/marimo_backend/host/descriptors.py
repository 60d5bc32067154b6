"""What cells write to descriptors 1 and 2 without `sys` (by C code, `os.write`, subprocesses),
shown in the browser of their session.

marimo does not show it in run mode, where its sessions share these descriptors. Here the server
sends it back (`mpkernel.host.descriptors`), and it is shown under the cell that ran alone when it
was written. When none or several ran, it is only in the server's log.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, TypeAlias

from mpkernel.host.descriptors import Runs, bring_back
from mpkernel.host.hosted_kernel import HostedKernel
from mpkernel.marimo_backend.host.console_proxy import CellStream, watch_cells
from mpkernel.wire.messages import ConsoleText

__all__ = ["bind_thread", "released"]

_StreamName: TypeAlias = Literal["stdout", "stderr"]

_runs = Runs()
_lock = threading.Lock()
_is_brought_back = False
_cells_of: dict[int, _SessionCells] = {}  # by session number; each operation is atomic


def bind_thread(kernel: HostedKernel) -> None:
    """From now on, show what the kernel on the calling thread writes there in its browser.

    Raises:
        OSError: the server is gone.
    """
    global _is_brought_back
    cells = _cells_of[kernel.number] = _SessionCells(kernel.number)
    watch_cells(cells)
    with _lock:
        if not _is_brought_back:
            bring_back(kernel, _take_text)
            _is_brought_back = True


@contextmanager
def released(kernel: HostedKernel) -> Iterator[None]:
    """At the end of the `with`, what is kept here about the kernel is dropped."""
    try:
        yield
    finally:
        _cells_of.pop(kernel.number, None)


class _SessionCells:
    """The cells that one session has run, and how to write under each."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._streams: dict[tuple[_StreamName, str], CellStream] = {}
        self._run: ExitStack | None = None

    def began(self, name: _StreamName, stream: CellStream) -> None:
        """marimo set the stream of the session's thread: it is about to run a cell, or runs one."""
        self._streams[name, stream.cell] = stream.for_thread()
        if self._run is None:
            self._run = ExitStack()
            self._run.enter_context(_runs.running(self._session, stream.cell))

    def ended(self) -> None:
        """marimo removed the stream: the cell has run."""
        run, self._run = self._run, None
        if run is not None:
            run.close()

    def offer(self, name: _StreamName, cell: str, text: str) -> None:
        """Write under a cell. This runs on the dispatcher's thread, so it must not wait."""
        stream = self._streams.get((name, cell))
        if stream is not None and not stream.closed:
            stream.offer(text)


def _take_text(text: ConsoleText) -> None:
    ran = _runs.alone_at(text.read_at_s)
    cells = _cells_of.get(ran.session) if ran is not None else None
    if ran is not None and cells is not None:
        cells.offer(text.stream, ran.cell, text.text)
