"""Lifespans of applications of notebooks: several share one pool, and each ends separately."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvicorn
from descendants import command_of
from e2e.harness import NOTEBOOKS, Tab, TabClosed, free_port
from starlette.applications import Starlette
from waiting import PATIENCE_S, until

import mpkernel


def notebooks(name: str) -> Any:
    """An application of one notebook."""
    builder = mpkernel.create_asgi_app(session_ttl=2)
    return builder.with_app(path="", root=str(NOTEBOOKS / f"{name}.py")).build()


@contextlib.asynccontextmanager
async def lifespan_of(app: Any) -> AsyncIterator[None]:
    """Run an application's lifespan, as a server does."""
    heard: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
    running = asyncio.create_task(app(scope, heard.get, said.put))

    async def answered(event: str) -> None:
        heard.put_nowait({"type": f"lifespan.{event}"})
        async with asyncio.timeout(PATIENCE_S):
            assert (await said.get())["type"] == f"lifespan.{event}.complete"

    await answered("startup")
    try:
        yield
    finally:
        await answered("shutdown")
        await running


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve on this loop, without the application's own lifespan."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


@contextlib.contextmanager
def served_by_a_thread(app: Any) -> Iterator[str]:
    """Serve on a thread, which no signal reaches, with the application's lifespan."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def hosts() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "tracker_fd=None" in command_of(child)]


async def hosts_are(count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(hosts()) != count:
            await asyncio.sleep(0.05)


async def works(tab: Tab, number: int) -> int:
    """Have the tab of the slider compute. Returns its process."""
    await tab.wait_for("in process")
    await tab.set_ui("Number", number)
    await tab.wait_for(f"number {number} squared is {number**2}")
    return int(re.findall(r"in process (\d+)", tab.text)[0])


async def test_applications_share_a_pool_and_the_end_of_one_leaves_the_others() -> None:
    one, other = notebooks("behaviour"), notebooks("slider")
    app = Starlette()
    app.mount("/one", one)
    app.mount("/other", other)
    async with lifespan_of(other), served(app) as url:
        async with lifespan_of(one), Tab(f"{url}/one") as tab, Tab(f"{url}/other") as theirs:
            await tab.wait_for("nothing gave")
            pid = await works(theirs, 7)
            # One for each, and one of their one pool that waits for the next.
            await hosts_are(3)
        async with Tab(f"{url}/other") as theirs:
            assert await works(theirs, 8) == pid
        with pytest.raises(TabClosed):
            await Tab(f"{url}/one").open()
    assert not hosts()


async def test_a_warm_process_waits_before_the_first_request() -> None:
    async with lifespan_of(notebooks("slider")):
        await hosts_are(1)
    assert not hosts()


async def test_an_end_without_a_signal_waits_for_a_cell_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELD_CELL", str(tmp_path))
    monkeypatch.setenv("MPKERNEL_DRAIN_GRACE_S", "60")
    serving = served_by_a_thread(notebooks("held_cell"))
    tab = Tab(serving.__enter__())
    try:
        await tab.open()
        await tab.wait_until_run()
        await tab.set_ui("go", 1)
        async with asyncio.timeout(PATIENCE_S):
            while not (tmp_path / "began").exists():
                await asyncio.sleep(0.01)
    finally:
        leaving = asyncio.create_task(asyncio.to_thread(serving.__exit__, None, None, None))
        await tab.wait_closed()
        (tmp_path / "go on").touch()
        await leaving
    assert (tmp_path / "ended").exists()
    assert not hosts()
    await tab.close()


async def test_one_application_is_served_by_one_loop_after_another() -> None:
    app = notebooks("slider")
    for number in (3, 4):
        with served_by_a_thread(app) as url:
            async with Tab(url) as tab:
                await works(tab, number)
    assert not hosts()


async def test_one_application_is_served_by_one_lifespan_after_another_on_one_loop() -> None:
    app = notebooks("slider")
    async with served(app) as url:
        for number in (3, 4):
            async with lifespan_of(app), Tab(url) as tab:
                await works(tab, number)
            assert not hosts()


async def test_of_two_lifespans_on_one_loop_the_first_to_end_leaves_the_other() -> None:
    app = notebooks("slider")
    async with served(app) as url:
        async with lifespan_of(app):
            async with lifespan_of(app), Tab(url) as tab:
                pid = await works(tab, 3)
            async with Tab(url) as tab:
                assert await works(tab, 4) == pid
        assert not hosts()
