"""A browser does not read: its notebook waits, and no other does."""

from __future__ import annotations

import asyncio
import itertools

import psutil
import pytest
from e2e.events import EventsTab, needs_server_sent_events
from e2e.harness import NOTEBOOKS, Server, Tab, open_tabs
from waiting import LONG_PATIENCE_S

NOTEBOOK = NOTEBOOKS / "unread.py"
MEBI = 1024 * 1024
ALLOWED_BYTES = 64 * MEBI

STALLED = 10
ENDLESS = {"Frames": 100_000, "Lines": 1_000_000, "Words": 100_000_000}
"""Elements of the notebook, and the most that they can be set to: hours of output."""

FLOODS = {"Frames": 1000, "Lines": 100_000}
"""Elements of the notebook, and how much makes a gigabyte."""

ALLOWED_OF_FLOODS = {"Frames": ALLOWED_BYTES, "Lines": 96 * MEBI}
"""What the server may keep of that gigabyte. marimo keeps the lines that it could send as one text,
some 29 MiB, and copies the text when it adds a line. 8 MiB more are the session's window."""


def resident_bytes(server: Server) -> dict[psutil.Process, int]:
    """What the server and the processes of its apps hold in memory."""
    processes = [psutil.Process(server.pid), *server.descendants()]
    return {process: process.memory_info().rss for process in processes}


def assert_bounded(before: dict[psutil.Process, int], allowed_bytes: int) -> None:
    grown = {p: p.memory_info().rss - rss for p, rss in before.items() if p.is_running()}
    shown = {p.pid: f"{count / MEBI:.0f} MiB" for p, count in grown.items()}
    assert max(grown.values()) < allowed_bytes, shown


@pytest.mark.any_marimo
@pytest.mark.parametrize("slider", FLOODS)
async def test_a_browser_that_does_not_read_costs_no_memory_and_nobody_else(slider: str) -> None:
    options = ["--redirect-console-to-browser"]
    with Server(NOTEBOOK, NOTEBOOKS / "slider.py", options=options) as server:
        async with (
            Tab(server.url, str(NOTEBOOK), history=1) as tab,
            Tab(server.url, str(NOTEBOOKS / "slider.py")) as other,
        ):
            await tab.wait_for("ready")
            await other.wait_until_run()
            before = resident_bytes(server)
            tab.pause()
            await tab.set_ui(slider, FLOODS[slider])
            for number in range(100):
                await other.set_ui("Number", number)
                await other.wait_for(f"number {number} squared")
            assert_bounded(before, ALLOWED_OF_FLOODS[slider])
            tab.resume()
            await tab.drop()


async def test_nothing_is_lost_of_what_a_browser_reads_late() -> None:
    with Server(NOTEBOOK) as server:
        async with Tab(server.url, history=1) as tab:
            await tab.wait_for("ready")
            process = psutil.Process(server.pid)
            before = process.memory_info().rss
            tab.pause()
            await tab.set_ui("Frames", 300)
            tab.resume()
            await tab.wait_for("shown all 300 frames", LONG_PATIENCE_S)
            assert process.memory_info().rss - before < ALLOWED_BYTES


@pytest.mark.any_marimo
async def test_ten_tabs_that_stopped_reading_leave_the_eleventh_its_answers() -> None:
    options = ["--redirect-console-to-browser"]
    env = {"MPKERNEL_HOST_WINDOW_BYTES": str(16 * MEBI)}  # two of the ten could fill it
    async with (
        Server(NOTEBOOK, options=options, env=env) as server,
        open_tabs(server.url, None, STALLED, history=1) as stalled,
        Tab(server.url, history=1) as healthy,
    ):
        for tab in (*stalled, healthy):
            await tab.wait_for("shown 0 words")
        before = resident_bytes(server)
        for tab, (slider, most) in zip(stalled, itertools.cycle(ENDLESS.items()), strict=False):
            tab.pause()
            await tab.set_ui(slider, most)
        for number in range(2, 102):
            await healthy.set_ui("Number", number)
            await healthy.wait_for(f"number {number} squared is {number**2}")
        assert_bounded(before, STALLED * ALLOWED_BYTES)
        for tab in stalled:
            await tab.drop()


@needs_server_sent_events
async def test_a_page_that_takes_no_server_sent_events_is_disconnected_and_may_come_back() -> None:
    async with (
        Server(NOTEBOOK, env={"MPKERNEL_SSE_STALL_TIMEOUT_S": "0.5"}) as server,
        EventsTab(server.url, history=1) as tab,
    ):
        await tab.wait_for("shown 0 words")
        tab.pause()
        await tab.set_ui("Frames", 30)
        await asyncio.to_thread(server.wait_for_output, "it took no server-sent events for 0.5 s")
        await asyncio.to_thread(server.wait_for_output, "sent all 30 frames")
        tab.resume()
        await tab.wait_closed()
        await tab.open()
        await tab.wait_for("shown all 30 frames")
        await tab.set_ui("Number", 7)
        await tab.wait_for("number 7 squared is 49")
        assert "Traceback" not in server.output()


@needs_server_sent_events
async def test_a_page_that_reads_late_but_in_time_loses_nothing_of_its_server_sent_events() -> None:
    async with Server(NOTEBOOK) as server, EventsTab(server.url, history=1) as tab:
        await tab.wait_for("shown 0 words")
        tab.pause()
        await tab.set_ui("Frames", 20)
        tab.resume()
        await tab.wait_for("shown all 20 frames")
