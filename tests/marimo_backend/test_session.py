"""A session whose messages go to marimo: what happens when its process sends more than the
window."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from mpkernel import Channel, KernelSpec, Settings
from mpkernel.errors import ProtocolError
from mpkernel.marimo_backend.server.marimo_journal import MarimoJournal
from mpkernel.marimo_backend.server.marimo_session import MarimoSession
from mpkernel.marimo_backend.server.page_stream import PageStream
from mpkernel.server.apps.app import App
from mpkernel.wire.frames import MESSAGE_COST_BYTES

FITTING = 10


class Pages:
    """Pages that take no message."""

    def messages_waiting(self, session_id: str) -> int:
        return 1_000_000

    def when_moved(self, session_id: str, call: Callable[[], None]) -> None:
        """Does nothing: these pages never take a message."""

    def has_page(self, session_id: str) -> bool:
        return True

    def show_again(self, session_id: str) -> None:
        """Does nothing: these pages show nothing."""


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
