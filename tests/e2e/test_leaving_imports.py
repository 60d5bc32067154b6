"""Tabs that are closed while their notebook imports: for other tabs the imported modules are whole.

`MPKERNEL_TEST_IMPORT_TABS=200 python -m pytest -o faulthandler_timeout=0` of this file closes 200.
"""

from __future__ import annotations

import asyncio
import os
import random
import time

import psutil
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab
from waiting import PATIENCE_S

TABS = int(os.environ.get("MPKERNEL_TEST_IMPORT_TABS", "6"))
TABS_A_PROCESS = 2
WHOLE = "(6, 6, 6) True in process"
ENV = {"MPKERNEL_IDLE_RETIRE_S": "0", "MPKERNEL_INTERRUPT_GRACE_S": "5"}


async def opened_and_closed(server: Server, after_s: float) -> None:
    async with Tab(server.url) as tab:
        await tab.wait_for("begun")
        await asyncio.sleep(after_s)  # a random moment is what is asked for


async def whole(server: Server) -> tuple[psutil.Process, float]:
    """Open a tab whose notebook must run without an error. Returns its process, and how long it
    ran."""
    async with Tab(server.url) as tab:
        await tab.wait_for("begun")
        began = time.monotonic()
        await tab.wait_until_run()
        assert WHOLE in tab.text, tab.text
        pid = int(tab.text.partition("in process ")[2].split()[0])
        return psutil.Process(pid), time.monotonic() - began


@pytest.mark.timeout(600 + 10 * TABS)
async def test_tabs_that_are_closed_while_they_import_leave_whole_modules() -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    print(f"seed {seed}")
    notebook = NOTEBOOKS / "heavy_imports.py"
    async with Server(notebook, options=("--session-ttl", "0"), env=ENV) as server:
        process, lasted_s = await whole(server)
        for _ in range(TABS // TABS_A_PROCESS):
            await asyncio.to_thread(process.wait, PATIENCE_S)
            closings = [
                opened_and_closed(server, moments.uniform(0, lasted_s))
                for _ in range(TABS_A_PROCESS)
            ]
            (waiting, _), *_ = await asyncio.gather(whole(server), *closings)
            process = waiting
