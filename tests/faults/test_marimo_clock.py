"""The calendar jumps under a marimo server: its tabs notice nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from e2e.harness import PROGRAM, Server
from faults.clocks import Calendar
from faults.tabs import NOTEBOOK, Used


async def test_tabs_go_on_and_come_back_whatever_the_date(tmp_path: Path, folder: Path) -> None:
    calendar = Calendar(folder)
    options = ["--session-ttl", "5", "--watch-interval-s", "0.2", "--ping-interval-s", "0.2"]
    program = (*calendar.before, *PROGRAM)
    with Server(NOTEBOOK, program=program, options=options, env=calendar.env) as server:
        async with (
            Used(server.url, tmp_path / "one") as one,
            Used(server.url, tmp_path / "two") as two,
        ):
            await one.use()
            before = one.process
            for days in (1, -1):
                calendar.set(days)
                for tab in (one, two):
                    await tab.use()
            assert (one.process, two.process) == (before, before)
            os.kill(before, signal.SIGKILL)
            for tab in (one, two):
                await tab.comes_back_from(before)
                await tab.use()
        assert "did not answer" not in server.output()
