"""The end of a server: commands that run may finish; a second signal ends everything at once."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from e2e.harness import Server, Tab
from waiting import PATIENCE_S

NOTEBOOK = Path(__file__).with_name("notebooks") / "long_cell.py"


def lines(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


async def began(tab: Tab, log: Path, tenths: int) -> None:
    """Have the long cell run for this number of tenths of a second, and wait for its beginning."""
    await tab.wait_until_run()
    await tab.set_ui("go", tenths)
    async with asyncio.timeout(PATIENCE_S):
        while "began" not in lines(log):
            await asyncio.sleep(0.01)


async def test_sigterm_lets_a_running_cell_come_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with Server(NOTEBOOK, env={"LONG_CELL_LOG": str(log)}) as server, Tab(server.url) as tab:
        await began(tab, log, 30)
        assert await asyncio.to_thread(server.stop, signal.SIGTERM) == -signal.SIGTERM
        assert lines(log) == ["began", "ended"]
        await asyncio.to_thread(server.assert_nothing_is_left)


@pytest.mark.any_marimo
async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with Server(NOTEBOOK, env={"LONG_CELL_LOG": str(log)}) as server, Tab(server.url) as tab:
        await began(tab, log, 90)
        ending = asyncio.create_task(asyncio.to_thread(server.stop, signal.SIGTERM))
        await asyncio.to_thread(server.wait_for_output, "waits for commands that run")
        await asyncio.to_thread(server.stop, signal.SIGTERM)
        await ending
        assert lines(log) == ["began"]
        await asyncio.to_thread(server.assert_nothing_is_left)


@pytest.mark.any_marimo
async def test_an_idle_server_leaves_without_waiting(tmp_path: Path) -> None:
    async with Server(NOTEBOOK, env={"LONG_CELL_LOG": str(tmp_path / "log")}) as server:
        async with Tab(server.url) as tab:
            await tab.wait_until_run()
            await asyncio.to_thread(server.stop, signal.SIGTERM)
        assert "waits for commands" not in server.output()
