"""A notebook's process dies under a real page: what the page shows then, and that it still
works."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.harness import NOTEBOOKS, Server
from e2e.steps import Steps
from playwright.async_api import Locator, Page, WebSocket, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

INPUTS = str(NOTEBOOKS / "inputs.py")
MARIMO = tuple(map(int, re.findall(r"\d+", version("marimo"))[:3]))
SHOWN = re.compile(r"(.*) in process (\d+) end")


class WatchedPage:
    """A page of the notebook, and the WebSockets that it has had."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.closed: list[str] = []
        self.opened: list[str] = []
        page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        self.opened.append(socket.url)
        socket.on("close", lambda socket: self.closed.append(socket.url))

    async def shown(self) -> tuple[str, int]:
        """The values that the notebook shows, and its process."""
        found = SHOWN.search(await self.page.get_by_text(SHOWN).inner_text())
        assert found is not None
        return found[1], int(found[2])

    async def shows(self, values: str) -> None:
        await expect(self.page.get_by_text(f"{values} in process")).to_be_visible()

    async def slider_values(self) -> list[str | None]:
        sliders = await self.page.get_by_role("slider").all()
        return [await slider.get_attribute("aria-valuenow") for slider in sliders]

    async def kill_app(self) -> None:
        """Kill the process, and wait until another one answers."""
        _, died = await self.shown()
        os.kill(died, signal.SIGKILL)
        await expect(self.page.get_by_text(f"in process {died} end")).to_have_count(0)
        await expect(self.page.get_by_text(SHOWN)).to_be_visible()

    @property
    def banner(self) -> Locator:
        return self.page.get_by_role("status").filter(has_text="This app was restarted")


@pytest_asyncio.fixture(loop_scope="module")
async def watched(page: Page) -> AsyncIterator[WatchedPage]:
    async with Server(INPUTS) as server:
        watched = WatchedPage(page)
        await page.goto(server.url, wait_until="commit")
        await expect(page.get_by_role("slider")).to_have_count(8)
        await expect(page.get_by_text(SHOWN)).to_be_visible()
        yield watched
        await page.goto("about:blank")


async def test_every_input_stands_where_it_stood_and_works_on(watched: WatchedPage) -> None:
    page = watched.page
    steps = Steps(page)
    for number, slider in enumerate(await page.get_by_role("slider").all(), start=1):
        await steps.set(slider, number)
    await page.get_by_role("button", name="Submit").click()
    await page.get_by_role("button", name="Plus").click()
    for count in ("Count 0", "Count 1"):
        await page.get_by_role("button", name=count).click()
    inputs = "[2, 3]; {'one': 4, 'more': [5]}; {'first': 6, 'second': 7}; {'inner': 8}"
    await watched.shows(f"1; {inputs}; 1; 2")
    await watched.kill_app()
    await watched.shows(f"1; {inputs}; 0; 2")  # a button's count starts anew, and is not clicked
    assert await watched.slider_values() == [str(number) for number in range(1, 9)]
    await expect(page.get_by_role("button", name="Count 2")).to_be_visible()

    await page.get_by_role("slider").first.press("ArrowRight")
    await page.get_by_role("button", name="Plus").click()
    await page.get_by_role("button", name="Count 2").click()
    await watched.shows(f"2; {inputs}; 1; 3")
    await watched.kill_app()
    await watched.shows(f"2; {inputs}; 0; 3")
    assert len(watched.opened) == 1
    assert watched.closed == []


async def test_a_banner_says_it_until_it_is_dismissed(watched: WatchedPage) -> None:
    await expect(watched.banner).to_have_count(0)
    for _ in range(2):
        await watched.kill_app()
        await expect(watched.banner).to_be_visible()
    await expect(watched.banner).to_have_count(1)
    await expect(watched.banner).to_contain_text("mo.state")
    await watched.banner.get_by_role("button", name="Dismiss").click()
    await expect(watched.banner).to_have_count(0)
    await watched.page.get_by_role("slider").first.press("ArrowRight")
    await watched.shows("1; [0, 0]; {'one': 0, 'more': [0]}; {'first': 0, 'second': 0}; None; 0; 0")
    await expect(watched.banner).to_have_count(0)


if MARIMO >= (0, 24):  # before, pages had WebSockets alone

    async def test_a_page_over_server_sent_events_shows_the_banner_too(
        page: Page, tmp_path: Path
    ) -> None:
        (tmp_path / "pyproject.toml").write_text('[tool.marimo.server]\ntransport = "sse"\n')
        notebook = shutil.copy(INPUTS, tmp_path)
        async with Server(notebook, cwd=tmp_path) as server:
            watched = WatchedPage(page)
            await page.goto(server.url, wait_until="commit")
            await expect(page.get_by_text(SHOWN)).to_be_visible()
            await watched.kill_app()
            await expect(watched.banner).to_be_visible()
            assert watched.opened == []
            await page.goto("about:blank")
