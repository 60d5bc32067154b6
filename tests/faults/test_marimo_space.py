"""ENOSPC in a marimo server: a cell whose file cannot be stored says why; nothing else notices."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from e2e.harness import NOTEBOOKS, PROGRAM, Server, Tab
from faults.namespaces import fill, seen_by, with_small
from faults.served import directories
from faults.tabs import NOTEBOOK, Used


async def test_a_full_machine_costs_files_and_reports_and_no_tab(
    tmp_path: Path, folder: Path
) -> None:
    env = directories(folder)
    names = ("run", "state", "tmp")
    before = with_small({"/dev/shm": "1m", **{folder / name: "256k" for name in names}})
    with Server(NOTEBOOKS, program=(*before, *PROGRAM), env=env) as server:
        file = str(NOTEBOOK)
        async with Used(server.url, tmp_path / "log", file) as used:
            await used.use()
            for name in ("run", "state"):
                fill(seen_by(server.pid, folder / name))
            await used.use()
            async with Tab(server.url, str(NOTEBOOKS / "big_plot.py")) as plot:
                await plot.wait_until_run()
                output = await asyncio.to_thread(server.wait_for_output, "shm.errors.NoSpace")
                assert "before that: no space in /dev/shm" in output
            died = used.process
            os.kill(died, signal.SIGKILL)
            await used.comes_back_from(died)
            await used.use()
            await asyncio.to_thread(server.wait_for_output, "no reports of deaths can be kept")
