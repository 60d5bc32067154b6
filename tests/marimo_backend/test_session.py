"""A session whose messages go to marimo: what happens when its process sends more than the
window."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from marimo._runtime.commands import (
    CreateNotebookCommand,
    ExecuteCellCommand,
    UpdateUIElementCommand,
)
from marimo._types.ids import CellId_t

from mpkernel import Channel, KernelSpec, Settings
from mpkernel.errors import ProtocolError
from mpkernel.marimo_backend.server.arrivals import Arrival, digest_of
from mpkernel.marimo_backend.server.marimo_journal import MarimoJournal
from mpkernel.marimo_backend.server.marimo_session import MarimoSession
from mpkernel.marimo_backend.server.page_stream import PageStream
from mpkernel.server.apps.app import App
from mpkernel.wire.frames import MESSAGE_COST_BYTES

FITTING = 10


class Pages:
    """Pages that take no message.

    Attributes:
        loaded_notebooks: what the session has said of notebooks that marimo has loaded.
    """

    def __init__(self) -> None:
        self.loaded_notebooks: list[tuple[str, str, float]] = []

    def loaded(self, app: str, cells: str, since: float) -> None:
        self.loaded_notebooks.append((app, cells, since))

    def messages_waiting(self, session_id: str) -> int:
        return 1_000_000

    def when_moved(self, session_id: str, call: Callable[[], None]) -> None:
        """Does nothing: these pages never take a message."""

    def has_page(self, session_id: str) -> bool:
        return True

    def show_again(self, session_id: str) -> None:
        """Does nothing: these pages show nothing."""


async def test_a_notebook_s_first_run_says_which_cells_its_file_has() -> None:
    app = cast("App", SimpleNamespace(settings=Settings(), path="/app.py", name="app.py"))
    pages = Pages()
    kernel = KernelSpec(entry="nobody:runs")
    session = MarimoSession(
        app,
        "s_1",
        None,
        MarimoJournal(kernel, {}, max_bytes=1000),
        loop=asyncio.get_running_loop(),
        pages=pages,
        arrival=Arrival("key", "token", since=17.0),
    )
    cells = {"a": "1 + 1", "b": "2 + 2"}
    first = CreateNotebookCommand(
        execution_requests=tuple(
            ExecuteCellCommand(cell_id=CellId_t(name), code=code) for name, code in cells.items()
        ),
        cell_ids=tuple(map(CellId_t, cells)),
        set_ui_element_value_request=UpdateUIElementCommand(object_ids=[], values=[]),
        auto_run=True,
    )
    assert session.beginning(first) is first
    assert pages.loaded_notebooks == [("/app.py", digest_of(cells.values()), 17.0)]


async def test_empty_messages_beyond_the_window_are_their_process_s_fault_and_are_not_kept() -> (
    None
):
    settings = Settings(window_bytes=FITTING * MESSAGE_COST_BYTES)
    app = cast("App", SimpleNamespace(settings=settings, path="/app.py", name="app.py"))
    loop = asyncio.get_running_loop()
    messages: queue.Queue[bytes | None] = queue.Queue()
    kernel = KernelSpec(entry="nobody:runs")
    session = MarimoSession(
        app,
        "s_1",
        PageStream(messages, loop),
        MarimoJournal(kernel, {}, max_bytes=1000),
        loop=loop,
        pages=Pages(),
    )
    with pytest.raises(ProtocolError, match="wait for a page that does not read"):
        for _ in range(100_000):
            session.on_message(Channel.STREAM, b"")
    assert FITTING <= messages.qsize() <= FITTING + 1024
