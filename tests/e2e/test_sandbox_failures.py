"""Environments that cannot be made: the page says why, other apps go on, the next try is new."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from e2e.harness import PROGRAM, Server
from e2e.test_other_python import environment
from e2e.test_sandboxes import HEADER, NOTEBOOK, env, folder, kept, opened, seen, shown
from faults.namespaces import with_small
from playwright.async_api import Page, expect

from mpkernel.sandboxes import Store

__all__ = ["env", "folder", "kept"]

TITLE = "The packages of this app cannot be installed"
UV = str(Path(sys.executable).with_name("uv"))


def write_uv(path: Path, what: str) -> None:
    path.write_text(f"#!/bin/sh\n{what}\n")
    path.chmod(0o755)


async def says(page: Page, *texts: str, by: str = "#mpkernel-banner") -> None:
    for text in texts:
        await expect(page.locator(by)).to_contain_text(text)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_page_says_what_went_wrong_and_other_apps_go_on(
    folder: Path, env: dict[str, str], tmp_path: Path, page: Page
) -> None:
    """There is no uv but the test's own: the server's Python has none beside it."""
    python = environment(tmp_path / "venv", has_marimo=True)
    uv = tmp_path / "uv"
    write_uv(uv, f'exec {UV} "$@"')
    paths = os.environ["PATH"].split(os.pathsep)
    env |= {
        "PATH": os.pathsep.join(path for path in paths if not Path(path, "uv").exists()),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "UV": str(uv),
        "XDG_CACHE_HOME": str(tmp_path / "cold"),
    }
    store = Store(tmp_path / "cold" / "mpkernel" / "sandboxes")
    for name, header in (
        ("wrong", HEADER.format(package="tiny==7.0")),
        ("spoilt", HEADER.format(package="tiny").replace("]", "")),
    ):
        (folder / f"{name}.py").write_text(header + NOTEBOOK)
    program = (str(python / "bin" / "python"), *PROGRAM[1:])
    async with (
        Server(folder, program=program, options=["--sandbox"], env=env) as server,
        opened(server, folder / "none.py") as bystander,
    ):
        last, pid = 0, shown(bystander, "pid")

        async def fails(name: str, *texts: str, by: str = "#mpkernel-banner") -> None:
            nonlocal last
            await page.goto(f"{server.url}/?file={folder / name}.py", wait_until="commit")
            await says(page, *texts, by=by)
            last += 1
            await bystander.set_ui("Number", last)
            await bystander.wait_for(f"number {last} pid")
            assert not [one for one in store.kept() if one.facts is not None]

        await fails("wrong", TITLE, "No solution found", "tiny==7.0")
        # No process is launched: marimo tells the page of that in a dialog of its own.
        await fails("spoilt", "spoilt.py, line 2", "not TOML", by="[role=alertdialog]")
        write_uv(uv, f'[ "$1" = sync ] && kill -KILL $$\nexec {UV} "$@"')
        await fails("one", "uv was ended by SIGKILL", "open the app again")
        uv.unlink()
        await fails("one", "pip install 'mpkernel[sandbox]'")
        write_uv(uv, f'exec {UV} "$@"')
        await page.goto(f"{server.url}/?file={folder / 'one.py'}", wait_until="commit")
        assert (await seen(page, 0))["tiny"] == "1.0"
        assert shown(bystander, "pid") == pid
        await page.goto("about:blank")


@pytest.mark.asyncio(loop_scope="module")
async def test_the_page_says_that_the_disk_is_full(
    folder: Path, env: dict[str, str], tmp_path: Path, page: Page
) -> None:
    store = tmp_path / "cold" / "mpkernel" / "sandboxes"
    store.mkdir(parents=True, mode=0o700)
    program = (*with_small({store: "16k,mode=700"}), *PROGRAM)
    env["XDG_CACHE_HOME"] = str(tmp_path / "cold")
    async with Server(folder, program=program, options=["--sandbox"], env=env) as server:
        await page.goto(f"{server.url}/?file={folder / 'one.py'}", wait_until="commit")
        await says(page, TITLE, "No space left on device")
        async with opened(server, folder / "none.py") as tab:
            assert "tiny none" in tab.text
        await page.goto("about:blank")
