"""Notebooks with packages of their own: served beside each other, and back after a death."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from e2e.harness import Server, Tab
from sandboxes.wheels import write_wheel

NOTEBOOK = """\
{header}import marimo

app = marimo.App()


@app.cell
def _():
    import os
    import sys

    import marimo as mo

    try:
        import tiny
        version = tiny.VERSION
    except ImportError:
        version = "none"
    slider = mo.ui.slider(0, 9, label="Number")
    return mo, os, slider, sys, version


@app.cell
def _(mo, os, slider, sys, version):
    about = f"tiny {{version}} number {{slider.value}} pid {{os.getpid()}} in {{sys.prefix}} end"
    mo.vstack([slider, mo.plain_text(about)])
    return


if __name__ == "__main__":
    app.run()
"""

HEADER = '# /// script\n# dependencies = ["marimo", "{package}"]\n# ///\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in ("1.0", "2.0"):
        write_wheel(tmp_path / "wheels", "tiny", version)
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    for name, header in (
        ("one", HEADER.format(package="tiny==1.0")),
        ("two", HEADER.format(package="tiny==2.0")),
        ("none", ""),
    ):
        (notebooks / f"{name}.py").write_text(NOTEBOOK.format(header=header))
    return notebooks


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "UV_FIND_LINKS": str(tmp_path / "wheels")}


def shown(tab: Tab, what: str) -> str:
    found = re.search(rf"{what} (\S+)", tab.text)
    assert found is not None, tab.text
    return found[1]


async def opened(server: Server, folder: Path, name: str) -> Tab:
    tab = Tab(server.url, str(folder / f"{name}.py"))
    await tab.__aenter__()
    await tab.wait_for(" end", timeout_s=120)
    return tab


async def test_notebooks_with_two_versions_of_a_package_run_beside_each_other(
    folder: Path, env: dict[str, str]
) -> None:
    async with Server(folder, options=["--sandbox"], env=env) as server:
        names = ("one", "two", "none")
        tabs = await asyncio.gather(*(opened(server, folder, name) for name in names))
        try:
            assert [shown(tab, "tiny") for tab in tabs] == ["1.0", "2.0", "none"]
            prefixes = [shown(tab, "in") for tab in tabs]
            assert len(set(prefixes)) == 3
            assert prefixes[2] == sys.prefix
            for number, tab in enumerate(tabs, 3):
                await tab.set_ui("Number", number)
                await tab.wait_for(f"number {number} pid")
            pids = [shown(tab, "pid") for tab in tabs]
            for pid in pids:
                os.kill(int(pid), signal.SIGKILL)
            for number, (tab, died) in enumerate(zip(tabs, pids, strict=True), 3):
                await tab.wait_for(lambda tab, died=died: f"pid {died} in" not in tab.text)
                await tab.wait_for(f"number {number} pid")
            assert [shown(tab, "tiny") for tab in tabs] == ["1.0", "2.0", "none"]
            assert [shown(tab, "in") for tab in tabs] == prefixes
        finally:
            for tab in tabs:
                await tab.__aexit__(None, None, None)
    offline = {**env, "UV": "/nowhere/uv", "UV_OFFLINE": "1"}
    async with Server(folder, options=["--sandbox"], env=offline) as server:
        tab = await opened(server, folder, "one")
        assert shown(tab, "in") == prefixes[0]
        await tab.__aexit__(None, None, None)
