"""A page that was away while its app's process was replaced shows the new one when it is back."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.events import EventsTab, needs_server_sent_events
from e2e.harness import NOTEBOOKS, Server, Tab, restarts_of

SLIDER = NOTEBOOKS / "slider.py"
TESTS = ("was_away", "broke_off")

on_each_transport = pytest.mark.parametrize(
    "new_tab", [Tab, pytest.param(EventsTab, marks=needs_server_sent_events)]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook for each test, whose process it ends."""
    folder = tmp_path_factory.mktemp("reconnecting")
    for test, tab in itertools.product(TESTS, (Tab, EventsTab)):
        shutil.copy(SLIDER, folder / f"{test}_{tab.__name__}.py")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(folder) as server:
        yield server


def pid_of(tab: Tab) -> int:
    return int(re.findall(r"in process (\d+)", tab.text)[0])


@on_each_transport
async def test_a_page_that_was_away_gets_the_banner_and_fresh_outputs_once(
    server: Server, folder: Path, new_tab: type[Tab]
) -> None:
    notebook = folder / f"was_away_{new_tab.__name__}.py"
    restarted = f"session restarted: the process of {notebook.name}"
    async with new_tab(server.url, str(notebook)) as tab:
        await tab.wait_for("in process")
        await tab.set_ui("Number", 7)
        await tab.wait_for("number 7 squared is 49")
        died = pid_of(tab)
        await tab.close()
        os.kill(died, signal.SIGKILL)
        await asyncio.to_thread(server.wait_for_output, restarted)
        await tab.open()
        await tab.wait_for(lambda tab: pid_of(tab) != died)
        await tab.wait_for("number 7 squared is 49")
        assert tab.element("Number").value == 7
        await tab.wait_for(restarts_of)
        await tab.close()
        await tab.open()
        await tab.set_ui("Number", 8)
        await tab.wait_for("number 8 squared is 64")
        assert len(restarts_of(tab)) == 1


@on_each_transport
async def test_a_page_whose_connection_broke_without_a_word_is_told_too(
    server: Server, folder: Path, new_tab: type[Tab]
) -> None:
    notebook = folder / f"broke_off_{new_tab.__name__}.py"
    restarted = f"session restarted: the process of {notebook.name}"
    async with new_tab(server.url, str(notebook)) as tab:
        await tab.wait_for("in process")
        died = pid_of(tab)
        tab.pause()
        os.kill(died, signal.SIGKILL)
        await asyncio.to_thread(server.wait_for_output, restarted)
        tab.messages.clear()
        tab.resume()
        await tab.drop()
        tab.messages.clear()
        await tab.open()
        await tab.wait_for(lambda tab: tab.received("banner"))
        await tab.wait_for(lambda tab: pid_of(tab) != died)
