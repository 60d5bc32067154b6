"""Tabs of a real marimo server: mpkernel, and marimo's own app hosts over ZeroMQ.

The servers run side by side and take turns; the client shares the machine's cores with them.
Before a turn, and after its first tab, the server has time to come to rest, which a standby needs.
"""

from __future__ import annotations

import asyncio
import time

import psutil

from ..contenders import Figures, run_loop
from ..marimo_server import Server, Tab, http_client
from ..marimo_server.programs import (
    MARIMO,
    OURS,
    OURS_ALONE,
    OURS_COLD,
    Notebooks,
    process_of,
    until_quiet,
)
from ..marimo_server.turns import measure_by_turns, moved
from ..measure import Measure, Target, percentile
from ..suite import Run

_MIB = 1024 * 1024
_SOON_S = 0.9


def run(run: Run) -> list[Measure]:
    measures = {
        "first": Measure("first tab of an app", "ms", targets=[Target(0.06, MARIMO)]),
        "soon": Measure(
            "first tab of another app, within a second", "ms", targets=[Target(0.3, MARIMO)]
        ),
        "next": Measure("next tab", "ms", targets=[Target(1.5, OURS, who=OURS_ALONE)]),
        "slider": Measure("slider round trip, p50", "ms", targets=[Target(1.0, MARIMO)]),
        "slider p99": Measure("slider round trip, p99", "ms"),
        "flood": Measure("outputs of a cell that floods", "1/s", better="more"),
        "memory": Measure("memory of a host with two tabs", "MiB", targets=[Target(1.0, MARIMO)]),
    }
    names = run.choose(full=(OURS, OURS_COLD, OURS_ALONE, MARIMO), quick=(OURS, MARIMO))
    run_loop(measure_by_turns(run, names, measures, _tabs, apps=2), "asyncio")
    run.notes.append("memory is the unique set size of the notebook's process")
    run.notes.append(f"{OURS_ALONE}: its memory is that of a host with one tab")
    return list(measures.values())


async def _tabs(run: Run, server: Server, notebooks: Notebooks, number: int) -> Figures:
    moves = run.choose(full=100, quick=30)
    steps = run.choose(full=2000, quick=500)
    async with http_client() as client:
        first, second = (Tab(server.url, notebooks[number], client=client) for _ in range(2))
        another = Tab(server.url, notebooks[number + run.options.repetitions], client=client)
        began = time.perf_counter()
        first_s = await _open(first)
        await asyncio.sleep(_SOON_S - (time.perf_counter() - began))
        soon_s = await _open(another)
        await another.close()
        await until_quiet(server)
        second_s = await _open(second)
        slider_s = [await moved(second, 2 + move) for move in range(moves)]
        began = time.perf_counter()
        await second.set_ui("Flood", steps)
        await second.wait_for(f"flood {steps} over", timeout_s=120)
        flood_s = time.perf_counter() - began
        memory = psutil.Process(process_of(first.text)).memory_full_info().uss
        await first.close()
        await second.close()
    return {
        "first": 1e3 * first_s,
        "soon": 1e3 * soon_s,
        "next": 1e3 * second_s,
        "slider": 1e3 * percentile(slider_s, 50),
        "slider p99": 1e3 * percentile(slider_s, 99),
        "flood": steps / flood_s,
        "memory": memory / _MIB,
    }


async def _open(tab: Tab) -> float:
    """Seconds from the WebSocket's connection to the end of the first run."""
    await tab.load()
    began = time.perf_counter()
    await tab.open()
    await tab.wait_until_run()
    return time.perf_counter() - began
