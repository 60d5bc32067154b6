"""A user presses reload again and again, on three notebooks, while a long cell runs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab, http_client
from playwright.async_api import BrowserContext, Page, expect
from waiting import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

# More than `POOLED_THREADS`: a thread that each reload left would be seen.
RELOADS = int(os.environ.get("MPKERNEL_TEST_RELOADS", "60"))
RELOADS_PER_S = 10
SECONDS = RELOADS / RELOADS_PER_S
ANSWER_WITHIN_S = 5.0

POOLED_THREADS = 46
"""What the server's two thread pools may have grown to: anyio's 40 and asyncio's 6 on two cores."""

CONSOLE, SLIDER, LONG = (NOTEBOOKS / name for name in ("console.py", "slider.py", "long_cell.py"))
OPTIONS = ("--redirect-console-to-browser", "--session-ttl", "1")


@pytest.mark.timeout(4 * SECONDS + 600)
async def test_reloading_without_a_pause_costs_nobody_anything(
    context: BrowserContext, tmp_path: Path
) -> None:
    log = {"LONG_CELL_LOG": str(tmp_path / "log")}
    with Server(CONSOLE, SLIDER, LONG, options=OPTIONS, env=log, standby=True) as server:
        async with Tab(server.url, str(LONG)) as long, Tab(server.url, str(SLIDER)) as slider:
            await long.wait_for("went 0")
            await slider.wait_until_run()
            async with Tab(server.url, str(CONSOLE)) as console:
                await console.wait_for("done with 0")
            await until_sessions(server, 2)
            threads = threads_of(server)
            await long.set_ui("go", SECONDS * 10)
            pages = [await opened(context, server, app) for app in (CONSOLE, SLIDER, LONG)]
            async with answering(server):
                await reload_in_turn(pages)
            async with Tab(server.url, str(SLIDER)) as fresh:
                await fresh.wait_until_run()
            for page, shown in zip(pages, ("done with 0", "squared", "went 0"), strict=True):
                await expect(page.get_by_text(shown).first).to_be_visible()
                await page.close()
            await long.wait_for(f"went {SECONDS * 10:.0f}")
            await until_sessions(server, 2)
            await until_threads(server, threads)


async def opened(context: BrowserContext, server: Server, app: Path) -> Page:
    page = await context.new_page()
    await page.goto(f"{server.url}/?{urlencode({'file': app})}", wait_until="commit")
    return page


async def reload_in_turn(pages: list[Page]) -> None:
    """Reload ten times a second, or as fast as the browser can."""
    began = time.monotonic()
    for number, page in enumerate(itertools.islice(itertools.cycle(pages), RELOADS), 1):
        await page.reload(wait_until="commit")
        await asyncio.sleep(max(0.0, began + number / RELOADS_PER_S - time.monotonic()))


@asynccontextmanager
async def answering(server: Server) -> AsyncIterator[None]:
    """Check that the server answers all the time inside this `with`."""

    async def ask() -> None:
        async with http_client() as client:
            while True:
                await client.get(f"{server.url}/health", timeout=ANSWER_WITHIN_S)
                await asyncio.sleep(0.02)

    asking = asyncio.create_task(ask())
    try:
        yield
        assert not asking.done(), asking.exception()
    finally:
        asking.cancel()


async def sessions_of(server: Server) -> int:
    async with http_client() as client:
        answer = await client.get(f"{server.url}/api/status/connections")
        return int(answer.json()["active"])


def threads_of(server: Server) -> dict[int, int]:
    threads = {}
    for process in [psutil.Process(server.pid), *server.descendants()]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            threads[process.pid] = process.num_threads()
    return threads


async def until_sessions(server: Server, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await sessions_of(server) != count:
            await asyncio.sleep(0.1)


async def until_threads(server: Server, before: dict[int, int]) -> None:
    """Wait until no process has more threads than before, but for the server's pools."""
    deadline = time.monotonic() + 60
    while more := {
        pid: count - before[pid]
        for pid, count in threads_of(server).items()
        if count > before.get(pid, count) + (POOLED_THREADS if pid == server.pid else 0)
    }:
        assert time.monotonic() < deadline, f"more threads than before: {more}"
        await asyncio.sleep(0.1)
