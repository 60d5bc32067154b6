"""Limits on apps' processes, end to end: what the watchdog sees, and what happens to the host."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from halves import host_of
from kernel.conftest import Client
from waiting import PATIENCE_S

from mpkernel import HostPool, Settings
from mpkernel.errors import AppUnavailable
from mpkernel.kernel.messages import Console, Restarted

MIB = 1024 * 1024
QUICK = {"watch_interval_s": 0.05}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text("print('ran')\n")
    return path


@pytest.fixture
async def pools() -> AsyncIterator[list[HostPool]]:
    made: list[HostPool] = []
    yield made
    for pool in made:
        await pool.close()


def pool_with(pools: list[HostPool], **limits: float) -> HostPool:
    pools.append(HostPool(Settings(**QUICK, **limits)))
    return pools[-1]


async def running(pool: HostPool, app: Path) -> Client:
    client = await Client.open(pool, app)
    client.run_app()
    await client.wait_for(Console, text="ran\n")
    return client


async def test_a_host_over_its_hard_memory_limit_is_replaced_and_its_sessions_come_back(
    pools: list[HostPool], app: Path
) -> None:
    pool = pool_with(pools, memory_hard_bytes=200 * MIB)
    client = await running(pool, app)
    pid = client.session.pid
    client.execute("large = bytearray(300 * 2**20); import time; time.sleep(60)", cell="large")
    told = await client.wait_for(Restarted)
    assert "memory_hard_bytes is 200 MiB" in told.reason
    await client.wait_for(Console, text="ran\n")
    assert client.session.pid != pid


async def test_a_host_over_its_soft_memory_limit_takes_no_new_sessions_until_it_is_below(
    pools: list[HostPool], app: Path
) -> None:
    pool = pool_with(pools, memory_soft_bytes=200 * MIB)
    client = await running(pool, app)
    await client.run("large = bytearray(300 * 2**20)")
    async with asyncio.timeout(PATIENCE_S):
        while host_of(client.session).refusal is None:
            await asyncio.sleep(0.01)
    with pytest.raises(AppUnavailable, match="memory_soft_bytes is 200 MiB"):
        await Client.open(pool, app)
    assert await client.text("print('as before')") == "as before\n"
    await client.run("del large")
    async with asyncio.timeout(PATIENCE_S):
        while host_of(client.session).refusal is not None:
            await asyncio.sleep(0.01)
    assert host_of((await running(pool, app)).session) is host_of(client.session)


async def test_a_stopped_host_is_hung_and_its_sessions_come_back(
    pools: list[HostPool], app: Path
) -> None:
    pool = pool_with(pools, ping_interval_s=0.05, ping_timeout_s=0.5)
    client = await running(pool, app)
    os.kill(client.session.pid, signal.SIGSTOP)
    told = await client.wait_for(Restarted)
    assert "did not answer" in told.reason
    await client.wait_for(Console, text="ran\n")


async def test_a_host_whose_code_keeps_the_interpreter_busy_is_not_hung(
    pools: list[HostPool], app: Path
) -> None:
    pool = pool_with(pools, ping_interval_s=0.05, ping_timeout_s=0.5)
    client = await running(pool, app)
    pid = client.session.pid
    # One call in C that holds the interpreter's lock: no pong for as long as it takes.
    assert await client.text(
        "print(len(str(7**400_000)) if not __import__('sys').set_int_max_str_digits(0) else 0)"
    )
    assert client.session.pid == pid


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        (
            {"max_threads": 40},
            "import threading as t\n"
            "for _ in range(50): t.Thread(target=t.Event().wait, daemon=True).start()",
        ),
        (
            {"max_descriptors": 100},
            "import os\nfds = [os.open('/dev/null', 0) for _ in range(150)]",
        ),
        ({"max_age_s": 0.5}, "pass"),
    ],
)
async def test_a_host_that_outgrows_a_limit_is_left_to_its_sessions_and_replaced(
    pools: list[HostPool], app: Path, limit: dict[str, float], code: str
) -> None:
    pool = pool_with(pools, **limit)
    client = await running(pool, app)
    outgrown = host_of(client.session)
    await client.run(code)
    async with asyncio.timeout(PATIENCE_S):
        while outgrown.takes_sessions:
            await asyncio.sleep(0.01)
    assert await client.text("print('as before')") == "as before\n"
    fresh = await running(pool, app)
    assert host_of(fresh.session) is not outgrown
    await client.close()
    async with asyncio.timeout(PATIENCE_S):
        while outgrown.is_alive:
            await asyncio.sleep(0.01)
