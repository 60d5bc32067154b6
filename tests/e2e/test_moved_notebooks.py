"""The file of a notebook goes away, or is broken, while tabs are open, and then their process dies:
they come back with the cells that they have."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e.harness import NOTEBOOKS, Server, Tab

RECOVERY = NOTEBOOKS / "recovery.py"


def renamed(path: Path) -> None:
    path.rename(path.with_name("renamed.py"))


def turned_to_nothing(path: Path) -> None:
    """It becomes a link that leads nowhere."""
    path.unlink()
    path.symlink_to("nothing.py")


def half_written(path: Path) -> None:
    """Its author is about to edit it."""
    path.write_text("import marimo\napp = marimo.App()\n\n@app.cell((\n")


def process_of(tab: Tab) -> int:
    found = re.search(r"in process (\d+) end", tab.text)
    assert found is not None, tab.text
    return int(found[1])


@pytest.mark.parametrize("goes", [Path.unlink, renamed, turned_to_nothing, half_written])
async def test_its_tabs_come_back_with_their_values(
    goes: Callable[[Path], object], tmp_path: Path
) -> None:
    target = tmp_path / "target.py"
    shutil.copy(RECOVERY, target)
    notebook = tmp_path / "notebook.py"
    notebook.symlink_to(target)
    async with Server(notebook) as server:
        async with Tab(server.url) as first, Tab(server.url) as second:
            for number, tab in enumerate((first, second), start=100):
                await tab.wait_until_run()
                await tab.set_ui("Number", number)
                await tab.wait_for(f"has {number} in")
            goes(notebook)
            died = process_of(first)
            os.kill(died, signal.SIGKILL)
            for number, tab in enumerate((first, second), start=100):
                await tab.wait_for(lambda tab: f"in process {died} end" not in tab.text)
                await tab.wait_for(f"has {number} in process")
                assert tab.element("Number").value == number
            await first.set_ui("Number", 102)
            await first.wait_for("has 102 in")
        assert "Traceback" not in server.output()
