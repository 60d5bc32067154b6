"""A server of several processes on one port: what it costs that a tab's requests reach another
process than the one that has its session, and what forty tabs get done at once.

The slider of one tab is moved: in a server of one process; in one of four, through the process that
has the session, then through another. Then forty tabs move their sliders as fast as they can.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from ..contenders import run_loop
from ..marimo_server import Server, Tab, http_client
from ..marimo_server.programs import Notebooks, until_quiet
from ..marimo_server.workers import client_of, connect_through, workers_of
from ..measure import Measure, Target, percentile
from ..suite import Run

_ONE, _OWN, _OTHER, _FOUR = "1 process", "4, its own", "4, another", "4 processes"
_COUNTS = {_ONE: 1, _FOUR: 4}
_TABS = 40
_PROGRAM = """
import mpkernel
app = mpkernel.create_asgi_app().with_app(path="/", root={root!r}).build()
"""
_OPTIONS = ("--port", "{port}", "--timeout-keep-alive", "1000", "--log-level", "warning")


def run(run: Run) -> list[Measure]:
    measures = {
        "p50": Measure("slider's round trip, p50", "ms"),
        "p99": Measure("slider's round trip, p99", "ms"),
        "more": Measure(
            "slider's round trip through another process, more than its own, p50",
            "ms",
            targets=[Target(2.0, who=_OTHER)],
        ),
        "all": Measure(f"{_TABS} tabs move their sliders, together", "1/s", better="more"),
    }
    run_loop(_measure(run, measures), "asyncio")
    return list(measures.values())


async def _measure(run: Run, measures: dict[str, Measure]) -> None:
    moves = run.choose(full=1000, quick=100)
    async with _servers() as servers:
        for name in run.by_turns(list(_COUNTS), str):
            server = servers[name]
            await until_quiet(server)
            medians = {}
            for kind, moved_s in (await _one_tab(server, name, moves)).items():
                medians[kind] = 1e3 * percentile(moved_s, 50)
                measures["p50"].add(kind, medians[kind])
                measures["p99"].add(kind, 1e3 * percentile(moved_s, 99))
            if _OTHER in medians:
                measures["more"].add(_OTHER, max(0.0, medians[_OTHER] - medians[_OWN]))
            measures["all"].add(name, await _forty_tabs(server, run.choose(full=25, quick=5)))


@contextlib.asynccontextmanager
async def _servers() -> AsyncIterator[Mapping[str, Server]]:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="workers-")))
        notebooks = Notebooks(folder, 1)
        (folder / "served.py").write_text(_PROGRAM.format(root=str(folder / notebooks[0])))
        servers = {}
        for name, count in _COUNTS.items():
            server = Server(
                "served:app",
                program=(sys.executable, "-m", "uvicorn"),
                server_options=(*_OPTIONS, "--workers", str(count)),
                cwd=folder,
                env={"XDG_STATE_HOME": str(folder / "state")},
            )
            servers[name] = await stack.enter_async_context(server)
        yield servers


async def _one_tab(server: Server, name: str, moves: int) -> dict[str, list[float]]:
    if _COUNTS[name] == 1:
        async with http_client() as client, Tab(server.url, client=client) as tab:
            return {name: await _moved(tab, moves)}
    first, second, *_ = workers_of(server)
    found = {}
    async with client_of(first, server) as own, client_of(second, server) as other:
        tab = Tab(server.url, client=own)
        await connect_through(first, server, tab)
        found[_OWN] = await _moved(tab, moves)
        await tab.close()
        tab._client = other
        await connect_through(second, server, tab)
        found[_OTHER] = await _moved(tab, moves)
        await tab.close()
    return found


async def _moved(tab: Tab, count: int) -> list[float]:
    await tab.wait_for("in process")
    moved_s = []
    start = int(time.monotonic() * 100) % 500_000
    for value in range(start, start + count):
        began = time.perf_counter()
        await tab.set_ui("Number", value)
        await tab.wait_for(f"number {value} in")
        moved_s.append(time.perf_counter() - began)
    return moved_s


async def _forty_tabs(server: Server, moves: int) -> float:
    async with contextlib.AsyncExitStack() as stack:
        tabs = [await stack.enter_async_context(Tab(server.url)) for _ in range(_TABS)]
        await asyncio.gather(*(tab.wait_for("in process", timeout_s=120) for tab in tabs))
        began = time.perf_counter()
        await asyncio.gather(*(_moved(tab, moves) for tab in tabs))
        return _TABS * moves / (time.perf_counter() - began)
