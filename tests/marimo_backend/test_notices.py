"""What a session tells its page. marimo drops what comes before a page is connected."""

from __future__ import annotations

import asyncio
import queue
from typing import Any

import msgspec
import pytest
from clocks import Clock

from mpkernel.marimo_backend.server.notices import Notices
from mpkernel.marimo_backend.server.page_stream import PageStream


class Told:
    """The notices of a session, and what marimo is given of them."""

    def __init__(self) -> None:
        self._messages: queue.Queue[bytes | None] = queue.Queue()
        self.clock = Clock()
        stream = PageStream(self._messages, asyncio.get_running_loop())
        self.notices = Notices(stream, self.clock)

    def banners(self) -> list[str]:
        """The banners and alerts since the last call."""
        said: list[str] = []
        while not self._messages.empty():
            message: Any = msgspec.json.decode(self._messages.get_nowait() or b"")
            said.append(f"{message['title']} {message['description']}".strip())
        return said


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.mark.parametrize(
    ("say", "banner"),
    [
        (
            lambda notices: notices.preparing("numpy <2", is_placed=True),
            "The packages of this app are being installed: numpy &lt;2",
        ),
        (
            lambda notices: notices.preparing("waits", is_placed=False),
            "This app runs on another machine: waits",
        ),
        (
            lambda notices: notices.waiting(2, 5),
            "This app is being restarted: 2 of 5 tabs are back, this one waits for its turn.",
        ),
        (lambda notices: notices.failure("It stopped", "a < b"), "It stopped a &lt; b"),
    ],
    ids=["packages", "machine", "restart", "failure"],
)
async def test_a_page_that_connects_later_is_told_what_holds_until_it_is_over(
    told: Told, say: Any, banner: str
) -> None:
    told.notices.again()
    assert told.banners() == []
    say(told.notices)
    assert told.banners() == [banner]
    told.notices.again()
    told.notices.again()
    assert told.banners() == [banner, banner]
    told.notices.prepared()
    assert told.banners() == [""]
    told.notices.again()
    assert told.banners() == []


async def test_what_a_reader_may_dismiss_is_told_once(told: Told) -> None:
    told.notices.preparing("numpy", is_placed=True)
    told.notices.banner("This app was restarted:", "All is as it was.", None)
    assert len(told.banners()) == 2
    told.notices.again()
    assert told.banners() == []


async def test_a_page_is_told_of_refused_files_as_often_as_its_alert_goes_away(told: Told) -> None:
    alert = "A file of this app cannot be shown there are too many"
    for _ in range(1000):
        told.notices.file_refused("there are too many")
    assert told.banners() == [alert]
    told.clock.now_s += 5
    told.notices.file_refused("there are too many")
    assert told.banners() == [alert]
