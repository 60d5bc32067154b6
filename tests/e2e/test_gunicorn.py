"""Notebooks in FastAPI under gunicorn with uvicorn's worker: its reloads and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab, TabClosed, open_tabs
from e2e.steps import Steps
from playwright.async_api import Page, expect
from waiting import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLIDER = NOTEBOOKS / "slider.py"
HELD_CELL = NOTEBOOKS / "held_cell.py"
RELOADS = 20 if os.environ.get("MPKERNEL_TEST_WORKERS") == "long" else 8


@contextlib.asynccontextmanager
async def gunicorn(
    *notebooks: Path, preload: bool = False, workers: int = 1, **env: str
) -> AsyncIterator[Server]:
    """Notebooks mounted in FastAPI, ended by SIGTERM: uvicorn's worker makes nothing of the SIGQUIT
    that SIGINT would become."""
    server = Server(
        "asgi_app:make({})".format(", ".join(repr(str(notebook)) for notebook in notebooks)),
        program=(sys.executable, "-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker"),
        server_options=("--bind", "127.0.0.1:{port}", "--no-control-socket", "-w", str(workers)),
        options=["--preload"] if preload else [],
        env={
            "ASGI_BUILDER": "mpkernel",
            "ASGI_FRAMEWORK": "fastapi",
            "PYTHONPATH": str(Path(__file__).parent),
            **env,
        },
    )
    async with server:
        yield server
        await asyncio.to_thread(server.stop, signal.SIGTERM)


def workers_of(server: Server) -> set[psutil.Process]:
    children = psutil.Process(server.pid).children()
    return {child for child in children if child.status() != psutil.STATUS_ZOMBIE}


async def reload(server: Server) -> psutil.Process:
    """Have gunicorn start a new worker and end the old one, which is returned and may still be
    there."""
    (old,) = workers_of(server)
    os.kill(server.pid, signal.SIGHUP)
    async with asyncio.timeout(PATIENCE_S):
        while not workers_of(server) - {old}:
            await asyncio.sleep(0.02)
    return old


async def gone(*processes: psutil.Process) -> None:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout=20)
    assert not alive


async def works(tab: Tab, number: int) -> None:
    await tab.wait_for("in process")
    await tab.set_ui("Number", number)
    await tab.wait_for(f"number {number} squared is {number**2}")


async def reconnect(tab: Tab) -> None:
    """What marimo's page does when its connection is closed without one of marimo's own reasons,
    for which it would give up: it connects again, as the same session."""
    await tab.wait_closed()
    assert tab.close_reason == "", tab.close_reason
    await tab.close()
    await tab.open()


async def use(tab: Tab, used: Counter[Tab]) -> None:
    """Move the slider, five times a second at most: faster ones only take time from the reloads."""
    while True:
        try:
            await works(tab, 1 + used[tab] % 999)
        except (TabClosed, httpx.HTTPError):
            await reconnect(tab)
        else:
            used[tab] += 1
            await asyncio.sleep(0.2)


async def everyone_uses(
    tabs: list[Tab], used: Counter[Tab], users: list[asyncio.Task[None]]
) -> None:
    """Wait until every tab has been of use once more."""
    before = used.copy()
    async with asyncio.timeout(PATIENCE_S):
        while any(used[tab] < before[tab] + 2 for tab in tabs):
            for user in users:
                if user.done():
                    await user
            await asyncio.sleep(0.02)


WITH_A_FILE = SLIDER.read_text().replace(
    "    number\n    return",
    "    mo.vstack([number, mo.download(bytes(500_000), 'zeros')])\n    return",
)


@pytest.mark.timeout(900)  # a busy machine takes several times as long
async def test_reloads_under_ten_tabs_lose_no_tab_and_leave_nothing(tmp_path: Path) -> None:
    notebook = tmp_path / "slider.py"
    notebook.write_text(WITH_A_FILE)
    used: Counter[Tab] = Counter()
    async with gunicorn(notebook) as server, open_tabs(f"{server.url}/slider", None, 10) as tabs:
        users = [asyncio.create_task(use(tab, used)) for tab in tabs]
        try:
            await everyone_uses(tabs, used, users)
            assert [name for name in os.listdir("/dev/shm") if name.startswith("mpk-")]
            ended: set[psutil.Process] = set()
            for _ in range(RELOADS):
                ended |= set(server.descendants())
                await gone(await reload(server))
                await everyone_uses(tabs, used, users)
        finally:
            for user in users:
                user.cancel()
            await asyncio.gather(*users, return_exceptions=True)
        await gone(*ended)


async def test_a_cell_that_runs_ends_in_the_old_worker_while_the_new_one_serves(
    tmp_path: Path,
) -> None:
    env = {"HELD_CELL": str(tmp_path), "MPKERNEL_DRAIN_GRACE_S": "120"}
    async with (
        gunicorn(HELD_CELL, SLIDER, **env) as server,
        Tab(f"{server.url}/held_cell") as held,
        Tab(f"{server.url}/slider") as tab,
    ):
        await works(tab, 2)
        await held.wait_until_run()
        await held.set_ui("go", 1)
        async with asyncio.timeout(PATIENCE_S):
            while not (tmp_path / "began").exists():
                await asyncio.sleep(0.02)
        old = await reload(server)
        await reconnect(tab)
        await works(tab, 3)
        assert old.is_running()
        (tmp_path / "go on").touch()
        await gone(old)
        assert (tmp_path / "ended").exists()
        await reconnect(held)
        await held.wait_for("went 1")  # its session comes back with its value


async def test_a_preloaded_application_and_a_killed_worker_are_served_again() -> None:
    async with (
        gunicorn(SLIDER, preload=True) as server,
        Tab(f"{server.url}/slider") as tab,
    ):
        await works(tab, 2)
        await gone(await reload(server))
        await reconnect(tab)
        await works(tab, 3)
        of_the_killed = server.descendants()
        for worker in workers_of(server):
            worker.kill()
        await gone(*of_the_killed)
        await reconnect(tab)
        await works(tab, 4)


async def test_marimos_page_goes_on_by_itself_after_a_kill_and_after_a_reload(page: Page) -> None:
    async with gunicorn(SLIDER, workers=2, MPKERNEL_SESSION_STORE_DELAY_S="0") as server:
        await page.goto(f"{server.url}/slider/", wait_until="commit")
        await expect(page.get_by_text("number 1 squared is 1")).to_be_visible()
        await page.evaluate("window.isTheFirst = true")
        for value in (2, 3):
            await Steps(page).set(page.get_by_role("slider"), value)
            shown = page.get_by_text(f"number {value} squared is {value**2}")
            await expect(shown).to_be_visible()
            before = await page.get_by_text("in process").inner_text()
            if value == 2:
                psutil.Process(int(before.split()[-1])).parent().kill()  # type: ignore[union-attr]
            else:
                os.kill(server.pid, signal.SIGHUP)
            await expect(page.get_by_text(before)).to_have_count(0)
            await expect(shown).to_be_visible()
            await expect(page.get_by_role("slider")).to_have_attribute("aria-valuenow", str(value))
        assert await page.evaluate("window.isTheFirst")
        await page.goto("about:blank")
