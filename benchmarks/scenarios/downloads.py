"""GET of virtual files from a real marimo server: mpkernel, and marimo's own app hosts.

One client fetches a file again and again over one connection. Then ten clients ask for the largest
file and read only its first bytes: what the server keeps for them shows in its memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import time
from collections.abc import AsyncIterator
from urllib.parse import urljoin, urlsplit

import psutil

from ..contenders import Figures, run_loop
from ..marimo_server import Server, Tab
from ..marimo_server.programs import MARIMO, OURS, Notebooks, serve, until_quiet
from ..measure import Measure, Target, percentile
from ..suite import Run

_KIB, _MIB = 1024, 1024 * 1024
_SIZES = {"64 KiB": 64 * _KIB, "1 MiB": _MIB, "8 MiB": 8 * _MIB, "64 MiB": 64 * _MIB}
_WANTED = {"64 KiB": 0.8, "1 MiB": 0.6, "8 MiB": 0.5, "64 MiB": 0.5}
_SLOW_CLIENTS = 10
_READ_BY_SLOW_BYTES = 64 * _KIB
_FILE = re.compile(r"\./@file/\d+-[\w.-]+")


def run(run: Run) -> list[Measure]:
    sizes = run.choose(full=tuple(_SIZES), quick=("64 KiB", "8 MiB"))
    measures = {
        size: Measure(f"GET of {size}, p50", "ms", targets=[Target(_WANTED[size], MARIMO)])
        for size in sizes
    }
    measures["memory"] = Measure(f"the server's memory, {_SLOW_CLIENTS} slow clients more", "MiB")
    run_loop(_measure(run, measures, sizes), "asyncio")
    run.notes.append(f"the slow clients ask for {sizes[-1]} each")
    return list(measures.values())


async def _measure(run: Run, measures: dict[str, Measure], sizes: tuple[str, ...]) -> None:
    names = (OURS, MARIMO)
    turns = dict.fromkeys(names, 0)
    async with serve(names, run.options.repetitions) as (servers, notebooks):
        for name in run.by_turns(names, str):
            await until_quiet(servers[name])
            figures = await _downloads(run, servers[name], notebooks, turns[name], sizes)
            turns[name] += 1
            for figure, value in figures.items():
                measures[figure].add(name, value)


async def _downloads(
    run: Run, server: Server, notebooks: Notebooks, number: int, sizes: tuple[str, ...]
) -> Figures:
    figures: Figures = {}
    async with Tab(server.url, notebooks[number]) as tab:
        await tab.wait_until_run()
        for name in sizes:
            size = _SIZES[name]
            await tab.set_ui("File", size // _KIB)
            await tab.wait_for(f"file of {size // _KIB} KiB")
            url = urljoin(tab.url, _FILE.findall(tab.html)[-1])
            await until_quiet(server)  # the next standby may still be importing
            count = max(5, min(run.choose(full=100, quick=20), 256 * _MIB // size))
            taken_s = await asyncio.to_thread(_fetched, url, size, count)
            figures[name] = 1e3 * percentile(taken_s, 50)
        before = psutil.Process(server.pid).memory_info().rss
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(_SLOW_CLIENTS):
                await stack.enter_async_context(_slow_client(url))
            await until_quiet(server)
            after = psutil.Process(server.pid).memory_info().rss
    figures["memory"] = (after - before) / _MIB
    return figures


def _fetched(url: str, size: int, count: int) -> list[float]:
    """Seconds that each of so many answers took, to its last byte."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    taken_s = []
    for _ in range(count + 1):
        began = time.perf_counter()
        connection.request("GET", parts.path)
        with connection.getresponse() as response:
            length = len(response.read())
        taken_s.append(time.perf_counter() - began)
        assert length == size, f"{length} bytes of {size} arrived: HTTP {response.status}"
    connection.close()
    return taken_s[1:]  # the first one connects


@contextlib.asynccontextmanager
async def _slow_client(url: str) -> AsyncIterator[None]:
    """A client that has read the first bytes of an answer, and waits."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port, limit=_READ_BY_SLOW_BYTES
    )
    writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    await reader.readexactly(_READ_BY_SLOW_BYTES)
    try:
        yield
    finally:
        writer.transport.abort()
