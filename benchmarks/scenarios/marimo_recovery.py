"""A notebook's process in a real marimo server is killed: how long until its tabs have run again,
and how much slower other requests are meanwhile: of another app, and of the same app's tabs on
other processes. marimo's own hosts bring nothing back.

Each app is killed once: a second death within a minute is followed by a wait.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time

from ..contenders import Figures, run_loop
from ..marimo_server import Server, Tab, http_client
from ..marimo_server.programs import OURS, OURS_TENS, process_of, serve, until_quiet
from ..measure import Measure, Target, percentile
from ..suite import Run
from .health import polled

_TABS = 10  # of a process
_PROCESSES = {OURS: 1, OURS_TENS: 3}
_MOVED = 2  # tabs of each process that is not killed
_IDLE_S = 1.0
_PAUSE_S = 0.02

_values = itertools.cycle(range(100, 1_000_000))


def run(run: Run) -> list[Measure]:
    measures = {
        "recovery": Measure(
            f"until the last of {_TABS} tabs has run again",
            "ms",
            targets=[Target(1.1, OURS, who=OURS_TENS)],
        ),
        "idle p99": Measure("/health idle, p99", "ms"),
        "p99": Measure("/health during a recovery, p99", "ms"),
        "slider": Measure("slider of another app during a recovery, longest", "ms"),
        "others p50": Measure("slider of the app's other tabs during a recovery, p50", "ms"),
        "others p50 ratio": Measure(
            "the same, to that p50 before it", "x", targets=[Target(1.5, who=OURS_TENS)]
        ),
        "others p99": Measure("slider of the app's other tabs during a recovery, p99", "ms"),
        "others": Measure(
            "the same, to that p99 before it", "x", targets=[Target(1.5, who=OURS_TENS)]
        ),
    }
    run_loop(_measure(run, measures), "asyncio")
    return list(measures.values())


async def _measure(run: Run, measures: dict[str, Measure]) -> None:
    names = tuple(_PROCESSES)
    turns: dict[str, int] = dict.fromkeys(names, 0)
    async with serve(names, run.options.repetitions + 1) as (servers, notebooks):
        for name in run.by_turns(names, str):
            turns[name] += 1
            count = _TABS * _PROCESSES[name]
            async with Tab(servers[name].url, notebooks[0]) as other:
                await other.wait_until_run()
                figures = await _kill(servers[name], notebooks[turns[name]], other, count)
            for figure, value in figures.items():
                measures[figure].add(name, value)


async def _kill(server: Server, notebook: str, other: Tab, count: int) -> Figures:
    async with http_client() as client:
        tabs = [Tab(server.url, notebook, client=client) for _ in range(count)]
        for tab in tabs:
            await tab.open()
            await tab.wait_until_run()
            await _moved(tab)
        victims = [tab for tab in tabs if process_of(tab.text) == process_of(tabs[0].text)]
        assert len(victims) == _TABS
        others = [tab for first in range(_TABS, count, _TABS) for tab in tabs[first:][:_MOVED]]
        await until_quiet(server)
        async with polled(server.port) as idle:
            await asyncio.sleep(_IDLE_S)
        over = asyncio.Event()
        # The same requests as during the recovery: what measures costs processor time, too.
        async with polled(server.port), asyncio.TaskGroup() as group:
            before = [group.create_task(_move(tab, over)) for tab in others]
            group.create_task(_move(other, over))
            await asyncio.sleep(_IDLE_S)
            over.set()
        over.clear()
        async with polled(server.port) as busy, asyncio.TaskGroup() as group:
            during = [group.create_task(_move(tab, over)) for tab in others]
            moves = group.create_task(_move(other, over))
            took_s = await _killed(victims)
            over.set()
        for tab in tabs:
            await tab.close()
    figures = {
        "recovery": 1e3 * took_s,
        "idle p99": 1e3 * percentile(idle, 99),
        "p99": 1e3 * percentile(busy, 99),
        "slider": 1e3 * max(moves.result()),
    }
    if others:
        before_s = [one for task in before for one in task.result()]
        during_s = [one for task in during for one in task.result()]
        p50_s, p99_s = percentile(during_s, 50), percentile(during_s, 99)
        figures |= {
            "others p50": 1e3 * p50_s,
            "others p50 ratio": p50_s / percentile(before_s, 50),
            "others p99": 1e3 * p99_s,
            "others": p99_s / percentile(before_s, 99),
        }
    return figures


async def _killed(tabs: list[Tab]) -> float:
    """Kill the process that these tabs are on; seconds until they all have run again."""
    runs = [tab.completed_runs for tab in tabs]
    shown = [tab.text.split(" in process")[0] for tab in tabs]
    began = time.perf_counter()
    os.kill(process_of(tabs[0].text), signal.SIGKILL)
    for tab, before in zip(tabs, runs, strict=True):
        await tab.wait_until_run(before + 1)
    took_s = time.perf_counter() - began
    for tab, number in zip(tabs, shown, strict=True):
        assert number in tab.text, tab.text
    return took_s


async def _move(tab: Tab, over: asyncio.Event) -> list[float]:
    taken_s = []
    while not over.is_set():
        began = time.perf_counter()
        await _moved(tab)
        taken_s.append(time.perf_counter() - began)
        await asyncio.sleep(_PAUSE_S)
    return taken_s


async def _moved(tab: Tab) -> None:
    value = next(_values)
    await tab.set_ui("Number", value)
    await tab.wait_for(f"number {value} in")
