"""A standby of a real server: it is adopted, shows no trace of its past, and has all of marimo
loaded."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from e2e.harness import Server, Tab
from e2e.test_serving import hosts_of
from waiting import PATIENCE_S

ABOUT = """
import marimo

app = marimo.App()


@app.cell
def _():
    import json
    import os
    import sys
    import threading

    import marimo as mo

    slider = mo.ui.slider(0, 9, label="Number")
    return json, mo, os, slider, sys, threading


@app.cell
def _(json, mo, os, slider, sys, threading):
    slider
    about = {
        "pid": os.getpid(),
        "arguments": sys.argv,
        "import path": sys.path,
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "file": __file__,
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "priority": os.getpriority(os.PRIO_PROCESS, threading.get_native_id()),
        "main module": sys.modules["__main__"].__name__,
        "modules": sorted(sys.modules),
    }
    mo.plain_text(f"about {json.dumps(about).encode().hex()} end")
    return


if __name__ == "__main__":
    app.run()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(ABOUT)
    return tmp_path


async def about(server: Server, notebook: Path) -> dict[str, Any]:
    """What the notebook says of its process, in a tab of its own."""
    async with Tab(server.url, str(notebook)) as tab:
        await tab.wait_until_run()
        found = re.search(r"about ([0-9a-f]+) end", tab.text)
        assert found is not None, tab.text
        return dict(json.loads(bytes.fromhex(found[1])))


async def warm_process(server: Server) -> psutil.Process:
    """The one child that has worked and now waits, on its only thread: no app runs."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            children = hosts_of(server)
            if len(children) == 1 and children[0].num_threads() == 1:
                worked = sum(children[0].cpu_times()[:2])
                await asyncio.sleep(0.3)
                if worked > 0.1 and sum(children[0].cpu_times()[:2]) == worked:
                    return children[0]
            await asyncio.sleep(0.05)


async def test_a_notebook_adopts_the_standby_and_is_as_in_a_process_of_its_own(
    folder: Path,
) -> None:
    arguments = ("--", "--colour", "blue")
    async with Server(folder, *arguments, cwd=folder) as server:
        cold = await about(server, folder / "first.py")
    async with Server(folder, *arguments, options=["--standby=1"], cwd=folder) as server:
        standby = await warm_process(server)
        adopted = await about(server, folder / "first.py")
        assert adopted["pid"] == standby.pid
    for name in cold.keys() - {"pid", "environment", "modules"}:
        assert adopted[name] == cold[name], name
    assert adopted["environment"].keys() == cold["environment"].keys()
    assert set(cold["modules"]) <= set(adopted["modules"])


async def test_nothing_of_marimo_is_left_to_import_for_a_first_tab(folder: Path) -> None:
    warm = "mpkernel.marimo_backend.host.warm"
    listing = f"import json, sys, {warm}; print(json.dumps([*sys.modules]))"
    warmed = subprocess.run([sys.executable, "-c", listing], capture_output=True, check=True)
    async with Server(folder) as server:
        for _ in range(2):  # the second tab sees what followed the first one's run
            needed = set((await about(server, folder / "first.py"))["modules"])
    late = needed - set(json.loads(warmed.stdout))
    assert not {
        name for name in late if name.startswith(("marimo", "pymdownx", "comm.", "mpkernel.marimo"))
    }


@pytest.mark.any_marimo
async def test_without_a_standby_no_process_waits(folder: Path) -> None:
    async with Server(folder) as server:
        assert not hosts_of(server)
        async with Tab(server.url, str(folder / "first.py")) as tab:
            await tab.wait_until_run()
            assert len(hosts_of(server)) == 1
