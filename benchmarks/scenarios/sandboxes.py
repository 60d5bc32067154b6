"""Tabs of notebooks whose headers name their packages, when the environments are there already:
mpkernel with and without `--sandbox`, and marimo's own `--sandbox` over ZeroMQ.

Each notebook is opened once before, and its process has left. What is measured is how long it takes
from the next tab's connection to the end of the first run.
"""

from __future__ import annotations

import asyncio
import time

import psutil

from ..contenders import run_loop
from ..marimo_server import Server, Tab, http_client
from ..marimo_server.programs import (
    MARIMO_SANDBOX,
    OURS,
    OURS_COLD,
    OURS_SANDBOX,
    OURS_SANDBOX_COLD,
    Notebooks,
    process_of,
    serve,
    until_quiet,
)
from ..measure import Measure, Target
from ..suite import Run

_MADE_WITHIN_S = 300.0
_GONE_WITHIN_S = 30.0


def run(run: Run) -> list[Measure]:
    first = Measure(
        "first tab of an app",
        "ms",
        targets=[
            Target(1.15, OURS, OURS_SANDBOX),
            Target(1.15, OURS_COLD, OURS_SANDBOX_COLD),
            Target(0.5, MARIMO_SANDBOX, OURS_SANDBOX),
        ],
    )
    run_loop(_measure(run, first), "asyncio")
    run.notes.append("the environments of the notebooks are made before")
    return [first]


async def _measure(run: Run, first: Measure) -> None:
    names = (OURS, OURS_SANDBOX, OURS_COLD, OURS_SANDBOX_COLD, MARIMO_SANDBOX)
    turns = dict.fromkeys(names, 0)
    async with serve(names, run.options.repetitions, sandboxes=True) as (servers, notebooks):
        for name in run.by_turns(names, str):
            first.add(name, await _opened_again(servers[name], notebooks, turns[name]))
            turns[name] += 1


async def _opened_again(server: Server, notebooks: Notebooks, number: int) -> float:
    """Milliseconds."""
    async with http_client() as client:
        for _ in range(2):
            await until_quiet(server)
            tab = Tab(server.url, notebooks[number], client=client)
            await tab.load()
            began = time.perf_counter()
            await tab.open(timeout_s=_MADE_WITHIN_S)
            await tab.wait_until_run(timeout_s=_MADE_WITHIN_S)
            took_s = time.perf_counter() - began
            process = process_of(tab.text)
            await tab.close()
            await _gone(process)
    return 1e3 * took_s


async def _gone(pid: int) -> None:
    async with asyncio.timeout(_GONE_WITHIN_S):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.05)
