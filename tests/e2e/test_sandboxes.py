"""Notebooks with packages of their own: served beside each other, and back after a death."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from e2e.harness import Server, Tab
from playwright.async_api import Page, expect
from sandboxes.programs import Halted
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
def env(kept: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(kept / "cache"), "UV_FIND_LINKS": str(kept / "wheels")}


def shown(tab: Tab, what: str) -> str:
    found = re.search(rf"{what} (\S+)", tab.text)
    assert found is not None, tab.text
    return found[1]


@asynccontextmanager
async def opened(server: Server, notebook: Path | str) -> AsyncIterator[Tab]:
    """A tab whose notebook has run."""
    async with Tab(server.url, str(notebook)) as tab:
        yield await tab.wait_for(" end", timeout_s=120)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with environments that all tests of this module use, for marimo is large, and with
    two versions of a package."""
    folder = tmp_path_factory.mktemp("kept")
    for version in ("1.0", "2.0"):
        write_wheel(folder / "wheels", "tiny", version)
    return folder


async def test_notebooks_with_two_versions_of_a_package_run_beside_each_other(
    folder: Path, env: dict[str, str]
) -> None:
    async with Server(folder, options=["--sandbox"], env=env) as server, AsyncExitStack() as stack:
        names = ("one", "two", "none")
        openings = (opened(server, folder / f"{name}.py") for name in names)
        tabs = await asyncio.gather(*map(stack.enter_async_context, openings))
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
    env["UV"] = "/bin/false"  # nothing is made a second time
    async with (
        Server(folder, options=["--sandbox"], env=env) as server,
        opened(server, folder / "one.py") as tab,
    ):
        assert shown(tab, "in") == prefixes[0]


@pytest.mark.parametrize("served", ["marimo run", "create_asgi_app"])
async def test_marimos_own_server_and_applications_have_sandboxes_too(
    folder: Path, env: dict[str, str], served: str
) -> None:
    if served == "marimo run":
        program = (sys.executable, "-m", "marimo", "run")
        server = Server(folder, program=program, options=["--sandbox"], env=env)
        notebook = str(folder / "two.py")
    else:
        program = (sys.executable, str(Path(__file__).with_name("asgi_app.py")))
        own = {"ASGI_BUILDER": "mpkernel", "ASGI_SANDBOX": "1", **env}
        server = Server(folder / "two.py", program=program, server_options=("{port}",), env=own)
        notebook = ""
    async with server:
        if served == "create_asgi_app":
            server.url += "/two"
        async with opened(server, notebook) as tab:
            assert shown(tab, "tiny") == "2.0"
            died = shown(tab, "pid")
            os.kill(int(died), signal.SIGKILL)
            await tab.wait_for(lambda tab: f"pid {died} in" not in tab.text)
            await tab.wait_for("tiny 2.0")


@pytest.mark.asyncio(loop_scope="module")
async def test_the_page_says_what_is_installed_and_what_went_wrong(
    folder: Path, env: dict[str, str], tmp_path: Path, page: Page
) -> None:
    halted = Halted(tmp_path)
    (folder / "wrong.py").write_text(NOTEBOOK.format(header=HEADER.format(package="tiny==7.0")))
    banner = page.locator("#mpkernel-banner")
    own = {**env, "UV": halted.uv, "XDG_CACHE_HOME": str(tmp_path / "cold")}
    async with Server(folder / "one.py", options=["--sandbox"], env=own) as server:
        await page.goto(server.url, wait_until="commit")
        await expect(banner).to_contain_text("The packages of this app are being installed: halted")
        await halted.reached()
        await halted.go_on()
        await expect(page.get_by_text("tiny 1.0 number 0")).to_be_visible()
        await expect(banner).to_have_count(0)
        await page.goto("about:blank")
    async with Server(folder / "wrong.py", options=["--sandbox"], env=env) as server:
        await page.goto(server.url, wait_until="commit")
        await expect(banner).to_contain_text("The packages of this app cannot be installed")
        await expect(banner).to_contain_text("tiny==7.0")
        await page.goto("about:blank")
