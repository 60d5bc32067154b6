"""EMFILE in a marimo server: its tabs go on, and new ones wait."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

from e2e.harness import NOTEBOOKS, Server, Tab
from faults.limits import cpu_share, starved
from faults.tabs import NOTEBOOK, Used

FOR_REQUESTS = 4
"""How many descriptors are left for what pages ask; a process needs more."""


async def test_tabs_go_on_and_come_back_when_there_are_descriptors_again(tmp_path: Path) -> None:
    with Server(NOTEBOOK, options=["--standby", "0"]) as server:
        async with (
            Used(server.url, tmp_path / "one") as one,
            Used(server.url, tmp_path / "two") as two,
        ):
            for tab in (one, two):
                await tab.use()
            died = one.process
            with starved(server.pid, FOR_REQUESTS):
                for tab in (one, two):
                    await tab.use()
                os.kill(died, signal.SIGKILL)
                await asyncio.to_thread(server.wait_for_output, "no process could be launched")
                assert await asyncio.to_thread(cpu_share, server.pid) < 0.5
            for tab in (one, two):
                await tab.comes_back_from(died)
                await tab.use()
            async with Used(server.url, tmp_path / "late") as late:
                await late.use()


async def test_a_file_that_cannot_be_opened_for_now_is_asked_for_again_later() -> None:
    with Server(NOTEBOOKS / "big_plot.py") as server:
        async with Tab(server.url) as tab:
            await tab.wait_for("frame 0 end")
            url = re.findall(r"\./@file/\d+-[\w.-]+", tab.html)[-1]
            size = len((await tab.get(url)).content)
            with starved(server.pid):
                refusal = await tab.get(url)
                assert (refusal.status_code, refusal.headers["Retry-After"]) == (503, "1")
            file = await tab.get(url)
            assert (file.status_code, len(file.content)) == (200, size)
