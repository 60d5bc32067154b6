"""EAGAIN in a marimo server: its tabs go on, and the tabs of a process that died wait for a new
one."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.harness import PROGRAM, Server, Tab, TabClosed
from faults.limits import cpu_share
from faults.tabs import NOTEBOOK, Used
from faults.users import as_somebody, no_more_processes
from waiting import until

REFUSED = "no process could be launched"


@pytest.fixture
def notebook() -> Iterator[Path]:
    """A copy that every user may read: the checkout may lie in somebody's home."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(shutil.copy(NOTEBOOK, folder))


async def test_tabs_go_on_and_come_back_when_there_are_processes_again(
    notebook: Path, tmp_path: Path
) -> None:
    program = (*as_somebody(), *PROGRAM)
    with Server(notebook, program=program, options=["--standby", "0"]) as server:
        early = Tab(server.url, query={"name": "early"})
        with no_more_processes(server.pid), pytest.raises(TabClosed, match="KERNEL_STARTUP_ERROR"):
            await early.open()
        (told,) = early.received("kernel-startup-error")
        assert "no process could be launched for recovery.py" in told["error"]
        assert "look at the limits on processes" in told["error"]
        await early.__aexit__()
        async with (
            Used(server.url, tmp_path / "one") as one,
            Used(server.url, tmp_path / "two") as two,
        ):
            for tab in (one, two):
                await tab.use()
            died = one.process
            with no_more_processes(server.pid):
                for tab in (one, two):
                    await tab.use()
                refused = server.output().count(REFUSED)
                os.kill(died, signal.SIGKILL)
                await asyncio.to_thread(until, lambda: server.output().count(REFUSED) > refused + 1)
                assert await asyncio.to_thread(cpu_share, server.pid) < 0.5
            for tab in (one, two):
                await tab.comes_back_from(died)
                await tab.use()


async def test_a_page_is_told_in_one_sentence_that_its_kernel_could_not_start(
    notebook: Path, tmp_path: Path
) -> None:
    program = (*as_somebody(), *PROGRAM)
    with Server(notebook, program=program) as server:
        async with Used(server.url, tmp_path / "one") as one:
            await one.use()
            second = Tab(server.url, query={"name": "second"})
            with no_more_processes(one.process):
                await second.open()
                await second.wait_for(lambda tab: tab.received("banner"))
            told = second.received("banner")[0]
            kernel = f"the kernel of session {second.session_id} of recovery.py"
            assert told["title"] == "This app stopped"
            assert told["description"] == f"{kernel} failed: reload the page to start it again."
            await second.__aexit__()
            await one.use()
