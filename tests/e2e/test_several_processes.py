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
import psutil
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab, TabClosed, http_client
from waiting import PATIENCE_S

BUSY = str(NOTEBOOKS / "busy.py")
SLIDER = str(NOTEBOOKS / "slider.py")
FOUR = {"MPKERNEL_PROCESSES_MAX": "4"}
TWO_EACH = {"MPKERNEL_PROCESSES_MAX": "3", "MPKERNEL_SESSIONS_PER_PROCESS": "2"}
ONE_EACH = {"MPKERNEL_PROCESSES_MAX": "none", "MPKERNEL_SESSIONS_PER_PROCESS": "1"}


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
        async with asyncio.timeout(PATIENCE_S):
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
    found = re.search(r"in process (\d+)", tab.text)
    assert found is not None, tab.text
    return int(found[1])


async def slides(tab: Tab, number: int) -> None:
    await tab.set_ui("Number", number)
    await tab.wait_for(f"number {number} ")


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
    async with Server(BUSY, env=TWO_EACH) as server, tabs_of(server, tmp_path) as tabs:
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
async def test_a_rolling_restart_under_load_refuses_no_tab_and_loses_none(tmp_path: Path) -> None:
    async with Server(BUSY, env=TWO_EACH) as server, tabs_of(server, tmp_path) as tabs:
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
        newcomers: list[Tab] = []
        while any(psutil.pid_exists(pid) for pid in old):
            newcomers += await asyncio.gather(*(tabs.open() for _ in range(2)))
            await asyncio.gather(*(slides(tab, len(newcomers)) for tab in newcomers[-2:]))
        for number, tab in enumerate(opened, 100):
            await tab.wait_for(lambda tab: process_of(tab) not in old)
            await tab.wait_for(f"number {number} in process")
        for tab in (*opened, *newcomers):
            await slides(tab, 200)
            assert tab.close_code is None


@pytest.mark.any_marimo
async def test_with_watch_the_tabs_of_all_processes_reload(tmp_path: Path) -> None:
    notebook = tmp_path / "watched.py"
    notebook.write_text(Path(SLIDER).read_text())
    async with (
        Server(notebook, options=("--watch",), env=ONE_EACH) as server,
        Tab(server.url) as first,
        Tab(server.url) as second,
    ):
        for tab in (first, second):
            await tab.wait_until_run()
            await tab.wait_for("squared is")
        assert process_of(first) != process_of(second)
        notebook.write_text(Path(SLIDER).read_text().replace("squared is", "times itself is"))
        for tab in (first, second):
            await tab.wait_for(lambda tab: tab.received("reload") or "times itself is" in tab.text)
        async with Tab(server.url) as reloaded:
            await reloaded.wait_for("times itself is")
            assert process_of(reloaded) not in (process_of(first), process_of(second))


async def test_a_mounted_notebook_is_spread_likewise() -> None:
    async with (
        Server(
            SLIDER,
            program=(sys.executable, str(Path(__file__).with_name("asgi_app.py"))),
            server_options=("{port}",),
            env={**ONE_EACH, "ASGI_BUILDER": "mpkernel", "ASGI_FRAMEWORK": "starlette"},
        ) as server,
        Tab(f"{server.url}/slider") as first,
        Tab(f"{server.url}/slider") as second,
    ):
        for number, tab in enumerate((first, second), 10):
            await tab.wait_until_run()
            await slides(tab, number)
        died, home = process_of(first), process_of(second)
        assert died != home
        os.kill(died, signal.SIGKILL)
        await first.wait_for(lambda tab: process_of(tab) != died)
        await first.wait_for("number 10 squared is 100")
        await slides(second, 12)
        assert process_of(second) == home


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
