"""What a notebook shows much of, in a real marimo server: printed lines, and a table of many rows.

A cell prints 100,000 lines, which the page shows. Then the page turns over a table of a million
rows, 100 of them at a time. mpkernel, marimo's own app hosts, and marimo in one process.
"""

from __future__ import annotations

import time

from ..contenders import Figures, run_loop
from ..marimo_server import Server, Tab
from ..marimo_server.programs import MARIMO, MARIMO_ALONE, OURS, Notebooks, serve, until_quiet
from ..measure import Measure, Target, percentile
from ..suite import Run

_PATIENCE_S = 120.0
_ROWS_A_PAGE = 100


def run(run: Run) -> list[Measure]:
    targets = [Target(0.7, MARIMO), Target(0.7, MARIMO_ALONE)]
    lines = run.choose(full=100_000, quick=10_000)
    rows = run.choose(full=1_000_000, quick=100_000)
    measures = {
        "lines": Measure(f"a cell prints {lines:,} lines", "s", targets=targets),
        "table": Measure(f"a table of {rows:,} rows is made", "s", targets=targets),
        "page": Measure("another page of it, p50", "ms", targets=targets),
    }
    run_loop(_measure(run, measures, lines, rows), "asyncio")
    return list(measures.values())


async def _measure(run: Run, measures: dict[str, Measure], lines: int, rows: int) -> None:
    names = (OURS, MARIMO, MARIMO_ALONE)
    turns = dict.fromkeys(names, 0)
    options = ("--redirect-console-to-browser",)
    async with serve(names, run.options.repetitions, options=options) as (servers, notebooks):
        for name in run.by_turns(names, str):
            await until_quiet(servers[name])
            figures = await _output(run, servers[name], notebooks, turns[name], lines, rows)
            turns[name] += 1
            for figure, value in figures.items():
                measures[figure].add(name, value)


async def _output(
    run: Run, server: Server, notebooks: Notebooks, number: int, lines: int, rows: int
) -> Figures:
    async with Tab(server.url, notebooks[number]) as tab:
        await tab.wait_until_run()
        await until_quiet(server)  # the next standby may still be importing
        lines_s = await _until(tab, "Lines", lines, f"printed {lines} lines")
        table_s = await _until(tab, "Rows", rows, f"table of {rows} rows")
        pages = run.choose(full=50, quick=10)
        taken_s = [
            await _page(tab, 1 + page * rows // _ROWS_A_PAGE // pages) for page in range(pages)
        ]
    return {"lines": lines_s, "table": table_s, "page": 1e3 * percentile(taken_s, 50)}


async def _until(tab: Tab, slider: str, value: int, shown: str) -> float:
    """Seconds from the move of a slider until the tab shows what it leads to."""
    began = time.perf_counter()
    await tab.set_ui(slider, value)
    await tab.wait_for(shown, timeout_s=_PATIENCE_S)
    return time.perf_counter() - began


async def _page(tab: Tab, number: int) -> float:
    """Seconds until a page of the table has arrived."""
    began = time.perf_counter()
    call = f"page {number}"
    answer = await tab.post(
        "api/kernel/function_call",
        {
            "functionCallId": call,
            "namespace": tab.element("marimo-table").object_id,
            "functionName": "search",
            "args": {"page_size": _ROWS_A_PAGE, "page_number": number},
        },
    )
    answer.raise_for_status()
    await tab.wait_for(lambda tab: _result(tab, call), timeout_s=_PATIENCE_S)
    taken_s = time.perf_counter() - began
    status = _result(tab, call)["status"]
    assert status["code"] == "ok", status
    return taken_s


def _result(tab: Tab, call: str) -> dict[str, dict[str, str]]:
    """What a call of a function gave; empty while it runs."""
    for message in reversed(tab.messages):
        if message["op"] == "function-call-result" and message["function_call_id"] == call:
            return message
    return {}
