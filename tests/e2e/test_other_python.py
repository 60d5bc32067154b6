"""Notebooks with another Python than their server's: with its packages, back after a death, and
refused on the page where marimo is missing."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
from pathlib import Path

import pytest
from e2e.harness import Server, status_says
from e2e.test_sandboxes import NOTEBOOK, opened, shown
from playwright.async_api import Page, expect
from pythons import OWN, make_environment


def environment(folder: Path, *, has_marimo: bool) -> Path:
    """One with a package that only it has; marimo, and what it needs, are lent to it."""
    make_environment(OWN, folder, ("msgspec",))
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "tiny.py").write_text("VERSION = '3.0'\n")
    if has_marimo:
        (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def uv_run(path: Path, python: Path) -> str:
    """A program that has uv start this Python, and waits for its end."""
    uv = Path(sys.executable).with_name("uv")
    options = f"--quiet --offline --no-project --python {python / 'bin' / 'python'}"
    path.write_text(f'#!/bin/sh\n{uv} run {options} python "$@"\nexit $?\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "app.py").write_text(NOTEBOOK)
    return folder


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["named", "behind-uv-run"])
async def test_a_notebook_runs_with_the_python_that_is_named_and_comes_back_with_it(
    notebooks: Path, tmp_path: Path, is_wrapped: bool
) -> None:
    python = environment(tmp_path / "venv", has_marimo=True)
    notebook = notebooks / "app.py"
    named = uv_run(tmp_path / "wrapper", python) if is_wrapped else str(python)
    async with (
        Server(notebooks, options=["--python", named]) as server,
        opened(server, notebook) as tab,
    ):
        assert (shown(tab, "tiny"), shown(tab, "in")) == ("3.0", str(python))
        await status_says(f"Python: {named}")
        died = shown(tab, "pid")
        await tab.set_ui("Number", 4)
        await tab.wait_for("number 4 pid")
        os.kill(int(died), signal.SIGKILL)
        await tab.wait_for(lambda tab: f"pid {died} in" not in tab.text)
        await tab.wait_for("number 4 pid")
        assert (shown(tab, "tiny"), shown(tab, "in")) == ("3.0", str(python))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_says_what_the_python_of_its_notebook_lacks(
    notebooks: Path, tmp_path: Path, page: Page
) -> None:
    python = environment(tmp_path / "venv", has_marimo=False)
    banner = page.locator("#mpkernel-banner")
    async with Server(notebooks / "app.py", options=["--python", str(python)]) as server:
        await page.goto(server.url, wait_until="commit")
        await expect(banner).to_contain_text("This app's Python cannot run it")
        await expect(banner).to_contain_text("has no marimo")
        await page.goto("about:blank")
