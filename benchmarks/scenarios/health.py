"""How long `GET /health` of a real marimo server takes while cold apps start, beside its own idle.

It is asked over a bare socket: an HTTP client's own work would be in the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from ..contenders import Figures, run_loop
from ..marimo_server import Server, Tab
from ..marimo_server.programs import MARIMO, OURS_COLD, Notebooks, serve
from ..measure import Measure, percentile
from ..peers import OURS
from ..suite import Run

_INTERVAL_S = 0.002
_IDLE_S = 0.8


def run(run: Run) -> list[Measure]:
    measures = {
        "idle p99": Measure("/health idle, p99", "ms"),
        "p50": Measure("/health while apps start, p50", "ms"),
        "p99": Measure("/health while apps start, p99", "ms"),
        "max": Measure("/health while apps start, longest", "ms"),
    }
    run_loop(_measure(run, measures), "asyncio")
    run.notes.append("mpkernel without a standby here, so that its starts are cold too")
    return list(measures.values())


async def _measure(run: Run, measures: dict[str, Measure]) -> None:
    apps = run.choose(full=3, quick=2)
    turns = {OURS_COLD: 0, MARIMO: 0}
    async with serve(tuple(turns), apps * run.options.repetitions) as (servers, notebooks):
        for name in run.by_turns(tuple(turns), str):
            first = turns[name] * apps
            turns[name] += 1
            figures = await _beside_starts(servers[name], notebooks, range(first, first + apps))
            for figure, value in figures.items():
                measures[figure].add(OURS if name == OURS_COLD else name, value)


async def _beside_starts(server: Server, notebooks: Notebooks, numbers: range) -> Figures:
    async with polled(server.port) as idle:
        await asyncio.sleep(_IDLE_S)
    async with polled(server.port) as busy:
        for number in numbers:
            async with Tab(server.url, notebooks[number]) as tab:
                await tab.wait_until_run()
    return {
        "idle p99": 1e3 * percentile(idle, 99),
        "p50": 1e3 * percentile(busy, 50),
        "p99": 1e3 * percentile(busy, 99),
        "max": 1e3 * max(busy),
    }


@contextlib.asynccontextmanager
async def polled(port: int) -> AsyncIterator[list[float]]:
    """Seconds that each answer took, within the block."""
    taken_s: list[float] = []
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_poll(port, taken_s, over))
        yield taken_s
        over.set()


async def _poll(port: int, taken_s: list[float], over: asyncio.Event) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    while not over.is_set():
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = (line for line in head.lower().split(b"\r\n") if b"content-length" in line)
        await reader.readexactly(int(next(lengths).split(b":")[1]))
        taken_s.append(time.perf_counter() - began)
        await asyncio.sleep(_INTERVAL_S)
    writer.close()
    await writer.wait_closed()
