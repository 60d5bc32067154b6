"""A notebook's process in a real marimo server is killed: how long until its tabs have run again,
and how much slower other requests are meanwhile. marimo's own hosts bring nothing back.

Each app is killed once: a second death within a minute is followed by a wait.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

from ..contenders import run_loop
from ..marimo_server import Server, Tab, http_client
from ..marimo_server.programs import OURS, Notebooks, process_of, serve, until_quiet
from ..measure import Measure, percentile
from ..suite import Run
from .health import polled

_TABS = 10
_IDLE_S = 1.0


def run(run: Run) -> list[Measure]:
    measures = {
        "recovery": Measure(f"until the last of {_TABS} tabs has run again", "ms"),
        "idle p99": Measure("/health idle, p99", "ms"),
        "p99": Measure("/health during a recovery, p99", "ms"),
        "slider": Measure("slider of another app during a recovery, longest", "ms"),
    }
    run_loop(_measure(run, measures), "asyncio")
    return list(measures.values())


async def _measure(run: Run, measures: dict[str, Measure]) -> None:
    async with (
        serve((OURS,), run.options.repetitions + 1) as (servers, notebooks),
        Tab(servers[OURS].url, notebooks[0]) as other,
    ):
        await other.wait_until_run()
        for number, _ in enumerate(run.by_turns((OURS,), str), 1):
            for name, value in (await _kill(servers[OURS], notebooks, number, other)).items():
                measures[name].add(OURS, value)


async def _kill(server: Server, notebooks: Notebooks, number: int, other: Tab) -> dict[str, float]:
    async with http_client() as client:
        tabs = [Tab(server.url, notebooks[number], client=client) for _ in range(_TABS)]
        for value, tab in enumerate(tabs, 2):
            await tab.open()
            await tab.wait_until_run()
            await tab.set_ui("Number", value)
            await tab.wait_for(f"number {value} in")
        await until_quiet(server)
        async with polled(server.port) as idle:
            await asyncio.sleep(_IDLE_S)
        over = asyncio.Event()
        async with polled(server.port) as busy, asyncio.TaskGroup() as group:
            moves = group.create_task(_move_slider(other, over))
            took_s = await _killed(tabs)
            over.set()
        for tab in tabs:
            await tab.close()
    return {
        "recovery": 1e3 * took_s,
        "idle p99": 1e3 * percentile(idle, 99),
        "p99": 1e3 * percentile(busy, 99),
        "slider": 1e3 * max(moves.result()),
    }


async def _killed(tabs: list[Tab]) -> float:
    """Kill the process that these tabs are on; seconds until they all have run again."""
    runs = [tab.completed_runs for tab in tabs]
    began = time.perf_counter()
    os.kill(process_of(tabs[0].text), signal.SIGKILL)
    for tab, before in zip(tabs, runs, strict=True):
        await tab.wait_until_run(before + 1)
    took_s = time.perf_counter() - began
    for value, tab in enumerate(tabs, 2):
        assert f"number {value} in" in tab.text, tab.text
    return took_s


async def _move_slider(tab: Tab, over: asyncio.Event) -> list[float]:
    taken_s = []
    value = process_of(tab.text) % 1000  # not where it stands
    while not over.is_set():
        value += 1
        began = time.perf_counter()
        await tab.set_ui("Number", value)
        await tab.wait_for(f"number {value} in")
        taken_s.append(time.perf_counter() - began)
        await asyncio.sleep(0.02)
    return taken_s
