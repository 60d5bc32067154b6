"""The longest time in which the server's event loop does not run, beside the same when it is idle.

A task of the loop wakes every millisecond; the delay of its wake-up is a gap. Each peer starts
hosts as the server it is taken from does: with ZeroMQ the loop waits for the host, as in marimo.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator

from ..contenders import Figures
from ..measure import Measure
from ..peers import Peer
from ..suite import Run

_TICK_S = 0.001
_HOSTS = 3
_FLOOD = b"flood %d 200"


def run(run: Run) -> list[Measure]:
    measures = {
        name: Measure(f"longest gap, {name}", "ms")
        for name in ("idle", "while hosts start", "in a flood", "while hosts die")
    }
    with run.contenders("mpkernel", "ZeroMQ", "mp.Queue") as contenders:
        run.alternate(contenders, measures, gaps, run.choose(full=1.0, quick=0.3))
    return list(measures.values())


async def gaps(peer: Peer, seconds: float) -> Figures:
    """The longest gaps in milliseconds, by what the server does at that time."""
    host = await peer.open_host()
    session = await host.open_session()
    async with _watched() as idle:
        await asyncio.sleep(seconds)
    async with _watched() as starts:
        hosts = [await peer.open_host() for _ in range(_HOSTS)]
        await asyncio.gather(*(host.open_session() for host in hosts))
    async with _watched() as flood:
        count = int(20_000 * seconds)
        session.send(_FLOOD % count)
        for _ in range(count):
            await session.receive()
    async with _watched() as deaths:
        for dying in hosts:
            os.kill(dying.pid, signal.SIGKILL)
        await asyncio.sleep(seconds)
    return {
        "idle": 1e3 * max(idle),
        "while hosts start": 1e3 * max(starts),
        "in a flood": 1e3 * max(flood),
        "while hosts die": 1e3 * max(deaths),
    }


@contextlib.asynccontextmanager
async def _watched() -> AsyncIterator[list[float]]:
    """The loop's gaps within the block, in seconds."""
    late_s: list[float] = []
    ticker = asyncio.create_task(_tick(late_s))
    await asyncio.sleep(0)
    yield late_s
    await asyncio.sleep(2 * _TICK_S)
    ticker.cancel()


async def _tick(late_s: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_TICK_S)
        late_s.append(time.perf_counter() - began - _TICK_S)
