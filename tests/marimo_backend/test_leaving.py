"""The order in which a pool ends with its server."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette

from mpkernel import HostPool
from mpkernel.marimo_backend.server.leaving import Leaving, leave_in_order


async def disconnects(page: asyncio.Event, leaving: Leaving) -> None:
    async with leaving.connection():
        await page.wait()


async def turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_nothing_ends_while_a_page_is_connected_and_no_page_is_let_go_before() -> None:
    async with HostPool() as pool:
        leaving = Leaving(pool)
        pages = [asyncio.Event(), asyncio.Event()]
        tasks = [asyncio.create_task(disconnects(page, leaving)) for page in pages]
        await turns()
        leaving.begin()
        pages[0].set()
        await turns()
        assert not pool.closed
        assert not tasks[0].done()
        pages[1].set()
        await asyncio.gather(*tasks)
        assert pool.closed


async def test_a_page_that_leaves_a_server_that_stays_is_let_go() -> None:
    async with HostPool() as pool:
        leaving = Leaving(pool)
        page = asyncio.Event()
        page.set()
        await disconnects(page, leaving)
        assert not pool.closed


async def test_a_lifespans_end_waits_for_no_page() -> None:
    async with HostPool() as pool:
        leaving = Leaving(pool)
        page = asyncio.Event()
        task = asyncio.create_task(disconnects(page, leaving))
        await turns()
        leaving.begin()
        await leaving.drained()
        assert pool.closed
        page.set()
        await task


async def test_a_lifespan_that_is_cancelled_tells_the_server_no_traceback() -> None:
    said: list[str] = []
    began = asyncio.Event()
    requests = ["lifespan.startup"]

    async def receive() -> dict[str, str]:
        if requests:
            return {"type": requests.pop()}
        began.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody asks the lifespan to end")

    async def send(message: dict[str, str]) -> None:
        said.append(message["type"])

    lifespan = asyncio.create_task(
        leave_in_order([], Starlette(), {"type": "lifespan"}, receive, send)
    )
    await began.wait()
    lifespan.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lifespan
    assert said == ["lifespan.startup.complete"]
