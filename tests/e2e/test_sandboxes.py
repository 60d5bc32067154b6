"""Notebooks with packages of their own: served beside each other, and back after a death."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from e2e.harness import PATIENCE_MS, Server, Tab, status_says
from playwright.async_api import BrowserContext, Page, expect
from sandboxes.programs import Halted, uv_with_marimo
from sandboxes.wheels import write_c_wheel, write_wheel
from waiting import LONG_PATIENCE_S

CODE = """\
import os
import sys

import marimo as mo

try:
    import tiny
    version = tiny.VERSION
except ImportError:
    version = "none"
try:
    import compiled
    in_c = compiled.VERSION
except ImportError:
    in_c = "none"
slider = mo.ui.slider(0, 9, label="Number")
"""

SHOWING = """\
about = f"tiny {version} number {slider.value} pid {os.getpid()} in {sys.prefix} c {in_c} end"
mo.vstack([slider, mo.plain_text(about)])
"""

_ALL = "in_c, mo, os, slider, sys, version"
NOTEBOOK = f"""\
import marimo

app = marimo.App()


@app.cell
def _():
{textwrap.indent(CODE, "    ")}    return {_ALL}


@app.cell
def _({_ALL}):
{textwrap.indent(SHOWING, "    ")}    return


if __name__ == "__main__":
    app.run()
"""

IN_MARKDOWN = "\n".join(f"```python {{.marimo}}\n{code}```\n" for code in (CODE, SHOWING))

HEADER = '# /// script\n# dependencies = ["marimo", "{package}"]\n# ///\n'
FRONT_MATTER = """\
---
marimo-version: 0.23.8
pyproject: |
  dependencies = ["marimo", "{package}"]
---

"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    for name, header in (
        ("one", HEADER.format(package="tiny==1.0")),
        ("two", HEADER.format(package="tiny==2.0")),
        ("none", ""),
    ):
        (notebooks / f"{name}.py").write_text(header + NOTEBOOK)
    return notebooks


@pytest.fixture
def env(kept: Path) -> dict[str, str]:
    return {
        "XDG_CACHE_HOME": str(kept / "cache"),
        **uv_with_marimo(),
        "UV_FIND_LINKS": str(kept / "wheels"),
    }


def shown(tab: Tab, what: str) -> str:
    found = re.search(rf"{what} (\S+)", tab.text)
    assert found is not None, tab.text
    return found[1]


@asynccontextmanager
async def opened(server: Server, notebook: Path | str) -> AsyncIterator[Tab]:
    """A tab whose notebook has run."""
    async with Tab(server.url, str(notebook)) as tab:
        yield await tab.wait_for(" end", LONG_PATIENCE_S)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with environments that all tests of this module use, for marimo is large, and with
    two versions of two packages, one of them in C."""
    folder = tmp_path_factory.mktemp("kept")
    for version in ("1.0", "2.0"):
        write_wheel(folder / "wheels", "tiny", version)
        write_c_wheel(folder / "wheels", "compiled", version)
    return folder


@pytest.mark.asyncio(loop_scope="module")
async def test_notebooks_with_two_versions_of_packages_run_beside_each_other(
    folder: Path, env: dict[str, str], context: BrowserContext
) -> None:
    for name, version in (("one", "1.0"), ("two", "2.0")):
        header = HEADER.format(package=f'tiny=={version}", "compiled=={version}')
        (folder / f"{name}.py").write_text(header + NOTEBOOK)
    versions = [("1.0", "1.0"), ("2.0", "2.0"), ("none", "none")]
    async with Server(folder, options=["--sandbox"], env=env) as server:
        pages = [await context.new_page() for _ in versions]
        for page, name in zip(pages, ("one", "two", "none"), strict=True):
            await page.goto(f"{server.url}/?file={folder / name}.py", wait_until="commit")
        before = [await seen(page, 0) for page in pages]
        assert [(one["tiny"], one["c"]) for one in before] == versions
        assert len({one["in"] for one in before}) == 3
        assert before[2]["in"] == sys.prefix
        await status_says(*(f"runs in the environment {one['in']}" for one in before[:2]))
        for number, page in enumerate(pages, 1):
            for _ in range(number):
                await page.get_by_role("slider").press("ArrowRight")
            await seen(page, number)
        for one in before:
            os.kill(int(one["pid"]), signal.SIGKILL)
        for number, (page, died) in enumerate(zip(pages, before, strict=True), 1):
            again = await seen(page, number, but=died["pid"])
            assert {**again, "number": "0", "pid": died["pid"]} == died
        for page in pages:
            await page.close()
    env["UV"] = "/bin/false"  # nothing is made a second time
    async with Server(folder, options=["--sandbox"], env=env) as server:
        for name, first in (("one", before[0]), ("two", before[1])):
            async with opened(server, folder / f"{name}.py") as tab:
                assert shown(tab, "in") == first["in"]


async def seen(page: Page, number: int, but: str = "nobody") -> dict[str, str]:
    """What a page says of its process, once it shows this number and another process id."""
    text = page.get_by_text(re.compile(rf"tiny \S+ number {number} pid (?!{but} )\d+ in .* end"))
    await expect(text.first).to_be_visible(timeout=PATIENCE_MS)
    words = (await text.first.inner_text()).split()
    return dict(zip(words[::2], words[1::2], strict=False))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_changed_header_is_the_next_processs_and_others_keep_their_environments(
    folder: Path, env: dict[str, str], context: BrowserContext
) -> None:
    """With `--watch`, pages show at once what else was changed. One notebook is in Markdown."""
    one, two = folder / "one.py", folder / "two.md"
    two.write_text(FRONT_MATTER.format(package="tiny==2.0") + IN_MARKDOWN)
    async with Server(folder, options=["--sandbox", "--watch"], env=env) as server:
        pages = [await context.new_page() for _ in range(2)]
        for page, path in zip(pages, (one, two), strict=True):
            await page.goto(f"{server.url}/?file={path}", wait_until="commit")
        before = [await seen(page, 0) for page in pages]
        assert [about["tiny"] for about in before] == ["1.0", "2.0"]
        for page, path, about in zip(pages, (one, two), before, strict=True):
            text = path.read_text().replace("tiny==1.0", "tiny==2.0")
            path.write_text(text.replace(" end", " edited yes end"))
            await expect(page.get_by_text("edited yes end").first).to_be_visible()
            assert await seen(page, 0) == {**about, "edited": "yes"}
        for page, about in zip(pages, before, strict=True):
            os.kill(int(about["pid"]), signal.SIGKILL)
            again = await seen(page, 0, but=about["pid"])
            # Their headers are equal now.
            assert (again["tiny"], again["in"]) == ("2.0", before[1]["in"])
        for page in pages:
            await page.close()


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
async def test_a_page_waits_while_packages_are_installed_once_for_two_servers(
    folder: Path, env: dict[str, str], tmp_path: Path, page: Page, context: BrowserContext
) -> None:
    halted = Halted(tmp_path)
    # No environment is made yet; packages that were downloaded are there.
    cold = {**env, "XDG_CACHE_HOME": str(tmp_path / "cold")}
    notebook = f"/?file={folder / 'one.py'}"
    options = ["--sandbox", "--session-ttl", "1"]
    other = await context.new_page()
    async with (
        Server(folder, options=options, env={**cold, "UV": halted.uv}) as server,
        Server(folder, options=options, env=cold) as second,
    ):
        await page.goto(server.url + notebook, wait_until="commit")
        banner = page.locator("#mpkernel-banner")
        await expect(banner).to_contain_text("The packages of this app are being installed: halted")
        uv = await halted.reached()
        async with opened(server, folder / "none.py") as tab:
            assert shown(tab, "tiny") == "none"  # another app starts meanwhile
        await page.goto("about:blank")  # nobody waits any more
        await asyncio.to_thread(psutil.wait_procs, [uv], timeout=30)
        assert not uv.is_running()
        await page.goto(server.url + notebook, wait_until="commit")
        await halted.reached()
        await other.goto(second.url + notebook, wait_until="commit")
        await expect(other.locator("#mpkernel-banner")).to_contain_text(
            "another process makes the same environment"
        )
        await halted.go_on()
        about = [await seen(one, 0) for one in (page, other)]
        assert [one["tiny"] for one in about] == ["1.0", "1.0"]
        assert about[0]["in"] == about[1]["in"]
        await expect(banner).to_have_count(0)
        await page.goto("about:blank")
    await other.close()
