"""`CellRun`: one run of one cell, which all its threads share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal

from mpkernel.kernel.console import CellStream
from mpkernel.kernel.display import figure_of
from mpkernel.kernel.messages import Figure, Message, Outputs
from mpkernel.kernel.outputs import CellOutputList

if TYPE_CHECKING:
    from mpkernel.kernel.session import PythonSession
    from shm import VirtualFile

__all__ = ["CellRun"]


class CellRun:
    """One run of one cell: what its threads print, show and report goes through here.

    Attributes:
        session: whose it is.
        cell: the cell's name.
        outputs: what the cell shows.
        over: set when the cell runs again or the session closes.
        streams: what `sys.stdout` and `sys.stderr` are to its threads.
    """

    def __init__(self, session: PythonSession, cell: str) -> None:
        self.session = session
        self.cell = cell
        self.over = threading.Event()
        self.outputs = CellOutputList(self._show, self._figure_of)
        self.streams = (
            self._stream("stdout"),
            self._stream("stderr"),
        )
        self._files: dict[str, VirtualFile] = {}  # by URL, those that are shown or will be
        self._shown: set[str] = set()

    def send(self, message: Message) -> None:
        """Send to the session's client; see `context.Place`."""
        self.session.send(message)

    def _stream(self, name: Literal["stdout", "stderr"]) -> CellStream:
        replacement = self.session.standard_streams[name].replacement
        return CellStream(self, name, self.cell, self.session.console, replacement)

    def _show(self, figures: list[Figure]) -> None:
        self.session.send(Outputs(self.cell, figures))
        shown = {figure.data for figure in figures if figure.is_url}
        for url in self._shown - shown:
            self._files.pop(url, None)
        self._shown = shown

    def _figure_of(self, value: object) -> Figure:
        return figure_of(value, store=self._store)

    def _store(self, data: bytes, media_type: str) -> str:
        file = self.session.kernel.files.create(data, media_type=media_type)
        self._files[file.url] = file
        return file.url
