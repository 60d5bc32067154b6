"""Tabs of one app that compute at the same time, in a real marimo server: mpkernel with one, two
and four processes for the app, and marimo's own app hosts, which have one.

Four tabs of the notebook are opened at once. First all four compute; then three of them do, and the
slider of the fourth is moved. What is computed is a loop in Python, which holds the interpreter's
lock.
"""

from __future__ import annotations

import asyncio
import time

from ..contenders import Figures, run_loop
from ..marimo_server import Server, Tab, http_client
from ..marimo_server.programs import (
    MARIMO,
    OURS,
    OURS_SPREAD,
    Notebooks,
    process_of,
    until_quiet,
)
from ..marimo_server.turns import measure_by_turns, moved
from ..measure import Measure, Target, percentile
from ..suite import Run

_TABS = 4


def run(run: Run) -> list[Measure]:
    two, four = OURS_SPREAD
    measures = {
        "all": Measure(
            f"{_TABS} tabs compute at once, until the last is over",
            "ms",
            targets=[Target(0.6, OURS, who=two)],
        ),
        "slider p50": Measure("slider of a tab beside three that compute, p50", "ms"),
        "slider p99": Measure(
            "slider of a tab beside three that compute, p99",
            "ms",
            targets=[Target(1.0, OURS, who=four), Target(1.0, MARIMO, who=four)],
        ),
        "processes": Measure("processes of the app", "", better="more"),
    }
    names = (OURS, *OURS_SPREAD, MARIMO)
    run_loop(measure_by_turns(run, names, measures, _tabs), "asyncio")
    return list(measures.values())


async def _tabs(run: Run, server: Server, notebooks: Notebooks, number: int) -> Figures:
    rounds = run.choose(full=20_000, quick=5_000)  # of a thousand
    async with http_client() as client:
        tabs = [Tab(server.url, notebooks[number], client=client) for _ in range(_TABS)]
        await asyncio.gather(*(_open(tab) for tab in tabs))
        await until_quiet(server)
        began = time.perf_counter()
        await asyncio.gather(*(_work(tab, rounds) for tab in tabs))
        all_s = time.perf_counter() - began
        slider, *computing = tabs
        work = asyncio.gather(*(_work(tab, 2 * rounds) for tab in computing))
        moved_s: list[float] = []
        while not work.done():
            moved_s.append(await moved(slider, 2 + len(moved_s)))
        await work
        processes = len({process_of(tab.text) for tab in tabs})
        for tab in tabs:
            await tab.close()
    return {
        "all": 1e3 * all_s,
        "slider p50": 1e3 * percentile(moved_s, 50),
        "slider p99": 1e3 * percentile(moved_s, 99),
        "processes": processes,
    }


async def _open(tab: Tab) -> None:
    await tab.open()
    await tab.wait_until_run()


async def _work(tab: Tab, rounds: int) -> None:
    await tab.set_ui("Work", rounds)
    await tab.wait_for(f"work {rounds} over", timeout_s=120)
