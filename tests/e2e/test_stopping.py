"""Tabs that are closed while the code of their notebook does not end by itself."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab
from waiting import PATIENCE_S

NOTEBOOK = NOTEBOOKS / "stuck.py"
OPTIONS = ("--session-ttl", "0")
CONSOLES = {"plain": (), "redirected": ("--redirect-console-to-browser",)}
"""Options that say where the console goes."""


class Log:
    """Where the notebook writes what it does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def wait_for(self, word: str) -> None:
        """Wait until the notebook wrote this once more than when it was last waited for."""
        async with asyncio.timeout(60):
            while word not in self._words():
                await asyncio.sleep(0.01)
        self.path.unlink()

    def _words(self) -> list[str]:
        return self.path.read_text().split() if self.path.exists() else []


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("stopping") / "log")


@pytest.fixture(scope="module", params=[()])
def server(request: pytest.FixtureRequest, log: Log) -> Iterator[Server]:
    """Each test leaves it without a tab. The parameter is more options."""
    options = (*OPTIONS, *request.param)
    with Server(NOTEBOOK, options=options, env={"STUCK_LOG": str(log.path)}) as server:
        yield server


def host_of(tab: Tab) -> psutil.Process:
    found = re.search(r"runs in process (\d+) end", tab.text)
    assert found is not None, tab.text
    return psutil.Process(int(found[1]))


async def open_tab(server: Server) -> Tab:
    tab = await Tab(server.url).open()
    await tab.wait_for("runs in process")
    return await tab.wait_until_run()


async def closed_while(tab: Tab, log: Log, action: str) -> None:
    """Have the tab's notebook do something, and close the tab meanwhile."""
    await tab.set_ui("Action", [action])
    await log.wait_for("began")
    await tab.close()


async def until_idle(process: psutil.Process) -> None:
    """Wait until the process takes less than a twentieth of a CPU."""
    while await asyncio.to_thread(process.cpu_percent, 0.5) >= 5:
        pass


@pytest.mark.parametrize("server", CONSOLES.values(), ids=CONSOLES, indirect=True, scope="module")
@pytest.mark.parametrize("action", ["spins", "prints", "spins async"])
async def test_a_spinning_tab_that_is_closed_takes_no_cpu(
    server: Server, log: Log, action: str
) -> None:
    other = await open_tab(server)
    host = host_of(other)
    threads = host.num_threads()
    await closed_while(await open_tab(server), log, action)
    async with asyncio.timeout(20):  # 5 s, where nothing else takes the CPU
        await until_idle(host)
        while host.num_threads() > threads:
            await asyncio.sleep(0.05)
    new = await open_tab(server)
    assert host_of(new) == host
    await other.close()
    await new.close()
    with contextlib.suppress(psutil.NoSuchProcess):
        while host.num_threads() >= threads:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("action", ["sleeps", "awaits"])
async def test_a_waiting_tab_that_is_closed_ends_in_order(
    server: Server, log: Log, action: str
) -> None:
    tab, other = await open_tab(server), await open_tab(server)
    await closed_while(tab, log, action)
    await log.wait_for("ended")
    new = await open_tab(server)
    assert host_of(new) == host_of(other)
    await other.close()
    await new.close()


async def test_a_tab_that_waits_for_the_network_drains_nothing(server: Server, log: Log) -> None:
    tab, other = await open_tab(server), await open_tab(server)
    await closed_while(tab, log, "receives")
    await asyncio.to_thread(server.wait_for_output, "ends when it wakes")
    host = host_of(other)
    await until_idle(host)
    new = await open_tab(server)
    assert host_of(new) == host
    assert "host drains" not in server.output()
    await other.close()
    await new.close()


async def test_a_deaf_tab_sends_new_ones_elsewhere_and_ends_with_its_process(
    server: Server, log: Log
) -> None:
    tab, other = await open_tab(server), await open_tab(server)
    old = host_of(other)
    await closed_while(tab, log, "is deaf")
    async with asyncio.timeout(60):
        while host_of(new := await open_tab(server)) == old:
            await new.close()
    await other.set_ui("Action", ["awaits"])
    await log.wait_for("began")
    await other.close()
    await log.wait_for("ended")
    await asyncio.to_thread(old.wait, PATIENCE_S)
    assert host_of(new).is_running()
    await new.close()
