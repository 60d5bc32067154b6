"""A browser that does not read: its notebook waits, and nobody else does."""

from __future__ import annotations

import psutil
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab

NOTEBOOK = NOTEBOOKS / "unread.py"
MEBI = 1024 * 1024
ALLOWED_BYTES = 64 * MEBI

FLOODS = {"Frames": 1000, "Lines": 100_000}
"""Elements of the notebook, and how much makes a gigabyte."""


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
            processes = [psutil.Process(server.pid), *server.descendants()]
            before = {process: process.memory_info().rss for process in processes}
            tab.pause()
            await tab.set_ui(slider, FLOODS[slider])
            for number in range(100):
                await other.set_ui("Number", number)
                await other.wait_for(f"number {number} squared")
            grown = {p: p.memory_info().rss - before[p] for p in processes if p.is_running()}
            assert max(grown.values()) < ALLOWED_BYTES, {
                p.pid: f"{g / MEBI:.0f} MiB" for p, g in grown.items()
            }
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
            await tab.wait_for("shown all 300 frames", timeout_s=120)
            assert process.memory_info().rss - before < ALLOWED_BYTES
