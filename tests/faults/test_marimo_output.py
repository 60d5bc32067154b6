"""The reader of a server's output stops reading: a terminal after Ctrl-S, a program that collects
logs and hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from e2e.harness import NOTEBOOKS, Server, Tab
from waiting import PATIENCE_S

NOTEBOOK = NOTEBOOKS / "recovery.py"
FILLER = b"x" * 4095 + b"\n"


def into(pipe: Path) -> tuple[str, ...]:
    """A server's command whose output goes into a pipe."""
    start = f'exec "$@" > {pipe} 2>&1'
    return ("sh", "-c", start, "sh", sys.executable, "-m", "mpkernel", "run")


def all_in(pipe: int) -> str:
    """What a pipe has now."""
    text = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            text += os.read(pipe, 65536)
    return text.decode(errors="replace")


async def until_in(pipe: int, line: str) -> str:
    """Read a pipe until it has had this line; give all that it had."""
    text = all_in(pipe)
    async with asyncio.timeout(PATIENCE_S):
        while line not in text:
            await asyncio.sleep(0.01)
            text += all_in(pipe)
    return text


def fill(pipe: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, FILLER)


@pytest.mark.parametrize("log_format", ["plain", "json"])
async def test_no_app_waits_for_it_and_the_lines_come_when_it_reads_again(
    log_format: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    options = ("--log-format", log_format)
    async with Server(NOTEBOOK, program=into(tmp_path / "pipe"), options=options) as server:
        async with Tab(server.url) as tab:
            await tab.wait_for("in process")
            for _ in range(2):
                fill(pipe)
                found = re.search(r"in process (\d+) end", tab.text)
                assert found is not None
                os.kill(int(found[1]), signal.SIGKILL)
                await tab.wait_for(lambda tab, died=found[0]: died not in tab.text)
                await tab.wait_for("in process")
                text = await until_in(pipe, "session restarted")
                assert text.count("was killed by SIGKILL") == 2  # in this line, and in one before
            fill(pipe)
        assert server.stop() == 0
    os.close(pipe)
