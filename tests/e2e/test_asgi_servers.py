"""Notebooks under hypercorn, whose workers are daemonic processes that get no signal, and under
granian, whose loop is driven from Rust. uvicorn and gunicorn have tests of their own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest
from e2e.harness import NOTEBOOKS, Server, Tab
from waiting import PATIENCE_S

SLIDER = NOTEBOOKS / "slider.py"
HELD_CELL = NOTEBOOKS / "held_cell.py"

PROGRAM = """
import os, sys
sys.path.append({folder!r})
from asgi_app import make
app = make(*{notebooks!r})
"""

SERVERS = {
    "hypercorn": ("--bind", "127.0.0.1:{port}", "--graceful-timeout", "1"),
    "granian": ("--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}"),
}


def serve(name: str, framework: str, folder: Path) -> Server:
    notebooks = [str(SLIDER), str(HELD_CELL)]
    (folder / "served.py").write_text(
        PROGRAM.format(folder=os.path.dirname(__file__), notebooks=notebooks)
    )
    return Server(
        "served:app",
        program=(sys.executable, "-m", name),
        server_options=SERVERS[name],
        cwd=folder,
        env={
            "ASGI_BUILDER": "mpkernel",
            "ASGI_FRAMEWORK": framework,
            "HELD_CELL": str(folder),
        },
        health="/slider/health" if framework == "bare" else "/health",
    )


async def pid_of(tab: Tab, number: int) -> int:
    """Have the tab of the slider compute. Returns its process."""
    await tab.wait_for("in process")
    await tab.set_ui("Number", number)
    await tab.wait_for(f"number {number} squared is {number**2}")
    return int(re.findall(r"in process (\d+)", tab.text)[-1])


@pytest.mark.parametrize("framework", ["fastapi", "bare"])
@pytest.mark.parametrize("name", SERVERS)
async def test_notebooks_work_and_the_servers_end_leaves_nothing(
    name: str, framework: str, tmp_path: Path
) -> None:
    async with serve(name, framework, tmp_path) as server:
        async with Tab(f"{server.url}/slider") as tab, Tab(f"{server.url}/slider") as other:
            pid = await pid_of(tab, 4)
            assert pid == await pid_of(other, 5)
            worker = psutil.Process(pid).parent()
            assert worker is not None
            assert worker.ppid() == server.pid
            psutil.Process(pid).kill()
            async with asyncio.timeout(PATIENCE_S):  # the tabs come back
                while await pid_of(tab, 6) == pid:
                    await asyncio.sleep(0.05)
        await asyncio.to_thread(server.stop, signal.SIGTERM)
        await asyncio.to_thread(server.assert_nothing_is_left)


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("hypercorn", "fastapi"),
        ("hypercorn", "bare"),
        ("granian", "bare"),
        # granian closes its loop without a word: what is mounted learns nothing of its end, unless
        # the application that it is mounted in runs its lifespan.
        ("granian", "lifespan"),
    ],
)
async def test_the_servers_end_waits_for_a_cell_that_runs(
    name: str, framework: str, tmp_path: Path
) -> None:
    async with serve(name, framework, tmp_path) as server:
        async with Tab(f"{server.url}/held_cell") as tab:
            await tab.wait_until_run()
            await tab.set_ui("go", 1)
            async with asyncio.timeout(PATIENCE_S):
                while not (tmp_path / "began").exists():
                    await asyncio.sleep(0.01)
            psutil.Process(server.pid).terminate()
            if name == "hypercorn" and sys.version_info >= (3, 12):
                await tab.close()  # it waits for all pages first, whatever it serves
            await asyncio.to_thread(server.wait_for_output, "waits for commands that run")
            (tmp_path / "go on").touch()
            await asyncio.to_thread(psutil.wait_procs, [psutil.Process(server.pid)], timeout=30)
        assert (tmp_path / "ended").exists()
        await asyncio.to_thread(server.assert_nothing_is_left)
