"""`CellRun`: one run of one cell, which all its threads share."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol

from mpkernel.kernel.code.namespace import Namespace
from mpkernel.kernel.messages import Figure, Message, Outputs
from mpkernel.kernel.process.session_streams import StreamOfSession
from mpkernel.kernel.shown.console_files import CellStream
from mpkernel.kernel.shown.display import figure_of
from mpkernel.kernel.shown.output_list import CellOutputList
from mpkernel.kernel.shown.session_console import SessionConsole

if TYPE_CHECKING:
    from mpkernel.host.hosted_kernel import HostedKernel
    from shm import VirtualFile

__all__ = ["CellRun", "SessionOfRun"]


class SessionOfRun(Protocol):
    """What a run of a cell, and the code in it, need from the session.

    Attributes:
        kernel: its connection to the client.
        namespace: the global names of its code.
        console: sends what its code prints.
        last_run: the run of the cell that runs now, or else ran last.
    """

    kernel: HostedKernel
    namespace: Namespace
    console: SessionConsole
    last_run: CellRun | None

    @property
    def standard_streams(self) -> Mapping[str, StreamOfSession]:
        """The files that its code finds as `sys.stdout` and `sys.stderr`, by the names "stdout" and
        "stderr"."""
        ...

    def send(self, message: Message) -> None:
        """Send to the client, from any thread. Waits while the client is far behind."""
        ...

    def ask(self, prompt: str, *, secret: bool, cell: str) -> str:
        """Ask the client for a line.

        Raises:
            EOFError: the client has no more input, or the session is closed.
        """
        ...


class CellRun:
    """One run of one cell: what its threads print, show and report goes through here.

    Attributes:
        session: the session that runs the cell.
        cell: the cell's name.
        outputs: what the cell shows.
        over: set when the cell runs again, or the session is closed.
        streams: where its threads write what they print to `sys.stdout` and `sys.stderr`.
    """

    def __init__(self, session: SessionOfRun, cell: str) -> None:
        self.session = session
        self.cell = cell
        self.over = threading.Event()
        self.outputs = CellOutputList(self._show, self._figure_of)
        self.streams = (
            self._stream("stdout"),
            self._stream("stderr"),
        )
        self._files: dict[str, VirtualFile] = {}  # by URL: the files that are shown, or will be
        self._shown: set[str] = set()

    def send(self, message: Message) -> None:
        """Send to the session's client; see `context.Place`."""
        self.session.send(message)

    def _stream(self, name: Literal["stdout", "stderr"]) -> CellStream:
        standard = self.session.standard_streams[name]
        return CellStream(self, name, self.cell, self.session.console, standard)

    def _show(self, figures: list[Figure]) -> None:
        self.session.send(Outputs(self.cell, figures))
        shown = {figure.data for figure in figures if figure.is_url}
        for url in self._shown - shown:
            self._files.pop(url, None)
        self._shown = shown

    def _figure_of(self, value: object) -> Figure:
        self.session.console.flush()  # text that was printed before is sent first
        return figure_of(value, store=self._store)

    def _store(self, data: bytes, media_type: str) -> str:
        file = self.session.kernel.files.create(data, media_type=media_type)
        self._files[file.url] = file
        return file.url
