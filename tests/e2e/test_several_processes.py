"""A notebook whose tabs are spread over several processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab, TabClosed, http_client

BUSY = str(NOTEBOOKS / "busy.py")
FOUR = {"MPKERNEL_PROCESSES_MAX": "4"}
EACH_ITS_OWN = {"MPKERNEL_PROCESSES_MAX": "3", "MPKERNEL_SESSIONS_PER_PROCESS": "2"}


class Tabs:
    """Tabs of the notebook, opened one after another."""

    def __init__(self, server: Server, folder: Path, client: httpx.AsyncClient) -> None:
        self.folder = folder
        self._server = server
        self._client = client
        self._stack = AsyncExitStack()
        self._count = 0

    async def open(self) -> Tab:
        name = f"tab{self._count}"
        self._count += 1
        query = {"folder": str(self.folder), "name": name}
        tab = Tab(self._server.url, BUSY, query=query, client=self._client)
        await self._stack.enter_async_context(tab)
        await tab.wait_until_run()
        return tab

    async def open_one_that_computes(self) -> Tab:
        """A tab whose cell has been running for a while when this returns."""
        began = self.folder / f"tab{self._count}-1"
        tab = await self.open()
        await tab.set_ui("Work", 1)
        async with asyncio.timeout(30):
            while not began.exists():
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)  # from then on it counts as computing
        return tab

    def enough(self) -> None:
        (self.folder / "enough").touch()

    async def close(self) -> None:
        self.enough()
        await self._stack.aclose()


@asynccontextmanager
async def tabs_of(server: Server, folder: Path) -> AsyncIterator[Tabs]:
    async with http_client() as client:
        tabs = Tabs(server, folder, client)
        try:
            yield tabs
        finally:
            await tabs.close()


def process_of(tab: Tab) -> int:
    found = re.search(r"in process (\d+) end", tab.text)
    assert found is not None, tab.text
    return int(found[1])


async def slides(tab: Tab, number: int) -> None:
    await tab.set_ui("Number", number)
    await tab.wait_for(f"number {number} in process")


@pytest.mark.any_marimo
async def test_tabs_that_compute_are_on_different_processes_and_a_fifth_is_answered(
    tmp_path: Path,
) -> None:
    async with Server(BUSY, env=FOUR) as server, tabs_of(server, tmp_path) as tabs:
        computing = [await tabs.open_one_that_computes() for _ in range(4)]
        assert len({process_of(tab) for tab in computing}) == 4
        fifth = await tabs.open()
        for number in range(10, 20):
            await slides(fifth, number)
        assert not any("worked 1" in tab.text for tab in computing)
        tabs.enough()
        for tab in computing:
            await tab.wait_for("worked 1")


@pytest.mark.any_marimo
async def test_a_process_that_is_killed_concerns_its_own_tabs_alone(tmp_path: Path) -> None:
    async with Server(BUSY, env=EACH_ITS_OWN) as server, tabs_of(server, tmp_path) as tabs:
        opened = [await tabs.open() for _ in range(6)]
        for number, tab in enumerate(opened, 100):
            await slides(tab, number)
        died = process_of(opened[0])
        homes = [process_of(tab) for tab in opened]
        assert len(set(homes)) == 3
        os.kill(died, signal.SIGKILL)
        for number, (tab, home) in enumerate(zip(opened, homes, strict=True), 100):
            if home == died:
                await tab.wait_for(lambda tab: f"in process {died} end" not in tab.text)
                await tab.wait_for(f"number {number} in process")
                await tab.wait_for(lambda tab: tab.received("banner"))
            else:
                await slides(tab, number + 100)
                assert process_of(tab) == home
                assert not tab.received("banner")


@pytest.mark.any_marimo
async def test_a_rolling_restart_leaves_no_moment_without_a_process(tmp_path: Path) -> None:
    async with Server(BUSY, env=EACH_ITS_OWN) as server, tabs_of(server, tmp_path) as tabs:
        opened = [await tabs.open() for _ in range(4)]
        for number, tab in enumerate(opened, 100):
            await slides(tab, number)
        old = {process_of(tab) for tab in opened}
        assert len(old) == 2
        order = [sys.executable, "-m", "mpkernel", "restart", "busy.py", "--rolling"]
        said = await asyncio.to_thread(
            subprocess.check_output, [*order, "--server", str(server.pid)], text=True
        )
        assert "restarts one process after another: 2 processes, 4 sessions" in said
        for _ in range(3):  # newcomers are taken all the time
            newcomer = await tabs.open()
            await slides(newcomer, 5)
        for number, tab in enumerate(opened, 100):
            await tab.wait_for(lambda tab: process_of(tab) not in old)
            await tab.wait_for(f"number {number} in process")
            assert tab.close_code is None


@pytest.mark.any_marimo
async def test_a_tab_too_many_is_told_so(tmp_path: Path) -> None:
    env = {"MPKERNEL_SESSIONS_MAX": "1"}
    async with Server(BUSY, env=env) as server, tabs_of(server, tmp_path) as tabs:
        await tabs.open()
        refused = Tab(server.url, BUSY, query={"folder": str(tmp_path), "name": "second"})
        with pytest.raises(TabClosed, match="KERNEL_STARTUP_ERROR"):
            await refused.open()
        said = str(refused.received("kernel-startup-error"))
        assert "busy.py has as many sessions as it may have (sessions_max is 1)" in said
