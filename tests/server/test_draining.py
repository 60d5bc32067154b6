"""The end of a pool: commands that run may finish within a limited time."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest
from kernel.conftest import Client
from waiting import until_async

from mpkernel import HostPool, Settings
from mpkernel.errors import AppUnavailable, PoolClosed
from mpkernel.kernel.messages import Console, Done


async def reading(pool: HostPool, tmp_path: Path) -> tuple[Client, Path]:
    """A session whose cell reads from a FIFO until somebody writes."""
    app, fifo = tmp_path / "app.py", tmp_path / "fifo"
    app.write_text("")
    os.mkfifo(fifo)
    client = await Client.open(pool, app)
    client.execute(f"print('begun', flush=True)\nprint(open({str(fifo)!r}).read())", cell="reading")
    await client.wait_for(Console, text="begun\n")
    return client, fifo


async def test_a_command_that_runs_comes_to_its_end(tmp_path: Path) -> None:
    pool = HostPool()
    client, fifo = await reading(pool, tmp_path)
    draining = asyncio.create_task(pool.drain())
    await asyncio.to_thread(fifo.write_text, "the end")
    console = await client.wait_for(Console)
    assert console.text == "the end\n"
    assert (await client.wait_for(Done)).outcome == "ok"
    await draining
    assert pool.hosts == []


async def test_nothing_is_opened_meanwhile(tmp_path: Path) -> None:
    pool = HostPool()
    client, fifo = await reading(pool, tmp_path)
    draining = asyncio.create_task(pool.drain())
    while not pool.closed:
        await asyncio.sleep(0)
    with pytest.raises(PoolClosed):
        await Client.open(pool, tmp_path / "app.py")
    await asyncio.to_thread(fifo.write_text, "")
    await client.wait_for(Done)
    await draining


async def test_it_waits_no_longer_than_the_grace_and_says_nothing_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = HostPool(Settings(drain_grace_s=0.1))
    await reading(pool, tmp_path)
    await pool.drain()
    assert pool.hosts == []
    await asyncio.sleep(0)  # the loop tells of exceptions that nobody has asked for
    gc.collect()
    assert [one.getMessage() for one in caplog.records if one.name == "asyncio"] == []


async def test_it_stops_waiting_when_told(tmp_path: Path) -> None:
    pool = HostPool(Settings(drain_grace_s=600))
    await reading(pool, tmp_path)
    at_once = asyncio.Event()
    draining = asyncio.create_task(pool.drain(at_once=at_once))
    at_once.set()
    await draining
    assert pool.hosts == []


async def test_a_process_that_drains_has_no_longer_to_start_than_others(tmp_path: Path) -> None:
    """The sessions that were opened on it wait for its start."""
    app, never = tmp_path / "app.py", tmp_path / "never"
    app.write_text("")
    never.write_text("#!/bin/sh\nexec sleep 600\n")
    never.chmod(0o755)
    settings = Settings(
        launch_wrapper=str(never), start_timeout_s=0.2, ping_timeout_s=None, restart_limit=0
    )
    async with HostPool(settings) as pool:
        opening = asyncio.create_task(Client.open(pool, app))
        await until_async(lambda: pool.hosts)
        pool.apps[0].replace()
        with pytest.raises(AppUnavailable, match="not ready within"):
            async with asyncio.timeout(60):
                await opening
