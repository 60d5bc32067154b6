"""A confined process for each visitor, in a real marimo server: from the opening of a tab until it
shows what its cells gave, against a further tab on a live process that is not confined; and what a
visitor takes of the memory."""

from __future__ import annotations

import time

import psutil

from ..contenders import Figures, run_loop
from ..marimo_server import Server, Tab, http_client
from ..marimo_server.programs import OURS, OURS_VISITORS, Notebooks, process_of, until_quiet
from ..marimo_server.turns import measure_by_turns
from ..measure import Measure, Target
from ..suite import Run

_MIB = 1024 * 1024


def run(run: Run) -> list[Measure]:
    measures = {
        "output": Measure(
            "a further tab, until its output is there",
            "ms",
            targets=[Target(1.5, OURS, who=OURS_VISITORS)],
        ),
        "memory": Measure("memory of a visitor's process that it shares with no other", "MiB"),
    }
    run_loop(measure_by_turns(run, (OURS, OURS_VISITORS), measures, _visitors), "asyncio")
    return list(measures.values())


async def _visitors(_: Run, server: Server, notebooks: Notebooks, number: int) -> Figures:
    async with http_client() as client:
        first = Tab(server.url, notebooks[number], client=client)
        await first.open()
        await first.wait_until_run()
        await until_quiet(server)  # the next standby is warm
        second = Tab(server.url, notebooks[number], client=client)
        began = time.perf_counter()
        await second.open()
        await second.wait_until_run()
        took_s = time.perf_counter() - began
        pid = process_of(second.text)
        figures = {"output": 1e3 * took_s}
        if pid != process_of(first.text):
            figures["memory"] = psutil.Process(pid).memory_full_info().uss / _MIB
        for tab in (first, second):
            await tab.close()
    return figures
