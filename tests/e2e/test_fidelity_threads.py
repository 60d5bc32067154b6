"""Threads that show values in one cell: the page shows last what was rendered last."""

from __future__ import annotations

import re

from e2e.harness import NOTEBOOKS, Server, Tab

RUNS = 80


async def test_no_thread_shows_an_older_output_after_a_newer_one() -> None:
    async with (
        Server(NOTEBOOKS / "fidelity" / "progress.py") as server,
        Tab(server.url, history=10) as tab,
    ):
        await tab.wait_until_run()
        for run in range(RUNS):
            await tab.set_ui("Begin", run + 1)
            await tab.wait_until_run(run + 2)
            assert len(set(re.findall(r"Bar \d done", tab.html))) == 4, f"in run {run}"
