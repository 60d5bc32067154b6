"""The pictures in README and the documentation are of the running product, and can be made again:

python -m pytest tests/e2e/test_pictures.py --pictures mpkernel/docs

- banner: an example notebook just after its process was killed: the slider stands where it stood,
  and the banner says what happened;
- gallery: the six examples;
- top: `mpkernel top`, of a server with some of them open.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cli.terminals import Terminal
from e2e.harness import EXAMPLES, Server
from e2e.steps import Steps
from playwright.async_api import Browser, expect
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

pytestmark = pytest.mark.asyncio(loop_scope="module")

SALES = EXAMPLES / "sales" / "dashboard.py"
PROCESS = re.compile(r"runs in process (\d+)")
MAX_BYTES = 150_000
COLUMNS, LINES = 110, 18


async def test_a_page_that_came_back(browser: Browser, pictures: Path) -> None:
    picture = pictures / "banner.png"
    context = await browser.new_context(viewport={"width": 1000, "height": 700})
    page = await context.new_page()
    async with Server(SALES) as server:
        await page.goto(server.url, wait_until="commit")
        slider = page.get_by_role("slider")
        await Steps(page).set(slider, 11)
        await expect(page.get_by_text("11 months, ")).to_be_visible()
        sentence = await page.get_by_text(PROCESS).inner_text()
        died = int(PROCESS.findall(sentence)[0])
        os.kill(died, signal.SIGKILL)
        banner = page.get_by_role("status").filter(has_text="This app was restarted")
        await expect(banner).to_be_visible()
        await expect(page.get_by_text(f"runs in process {died}")).to_have_count(0)
        await expect(page.get_by_text("11 months, ")).to_be_visible()
        assert await slider.get_attribute("aria-valuenow") == "11"
        await slider.blur()
        await page.screenshot(path=picture, animations="disabled")
        await context.close()
    assert picture.stat().st_size < MAX_BYTES


async def test_the_gallery_and_top(browser: Browser, pictures: Path, tmp_path: Path) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 1090})
    page = await context.new_page()
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    async with Server(EXAMPLES, env={"XDG_RUNTIME_DIR": str(run_dir)}) as server:
        await page.goto(server.url)
        await expect(page.locator("a img")).to_have_count(len(list(EXAMPLES.rglob("*.svg"))))
        await page.screenshot(path=pictures / "gallery.png", animations="disabled")
        for name in ("sales/dashboard.py", "kill_me.py", "kill_me.py"):
            tab = await context.new_page()
            await tab.goto(f"{server.url}/?{urlencode({'file': str(EXAMPLES / name)})}")
            await expect(tab.get_by_text("runs in process").first).to_be_visible()
        await tab.get_by_role("button", name="Segfault").click()
        await expect(tab.get_by_text("This app was restarted")).to_be_visible()
        frame = await asyncio.to_thread(frame_of_top, tmp_path, run_dir)
        await page.set_viewport_size({"width": 1000, "height": 400})
        await page.set_content(html_of(frame))
        await page.locator("pre").screenshot(path=pictures / "top.png")
        await context.close()
    for name in ("gallery.png", "top.png"):
        assert (pictures / name).stat().st_size < MAX_BYTES


def frame_of_top(folder: Path, run_dir: Path) -> str:
    """What `mpkernel top` shows in a terminal with colors, as the terminal gets it."""
    command = ["env", f"XDG_RUNTIME_DIR={run_dir}", sys.executable, "-m", "mpkernel", "top"]
    with Terminal(command, folder, size=(COLUMNS, LINES), color=True) as terminal:
        terminal.wait_for("kill_me.py")
        terminal.wait_for("q ends")
        terminal.type("q")
        assert terminal.end() == 0
        frame, _, _ = terminal.shown.partition("\x1b[J")
        return frame.rpartition("\x1b[H")[2]


def html_of(frame: str) -> str:
    """Text with the colors of a terminal, as a page."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    text = re.sub(r"\x1b\[K|\r", "", frame)
    console.print(Text.from_ansi(text), no_wrap=True, crop=False)
    body = console.export_html(inline_styles=True, code_format="{code}", theme=MONOKAI)
    style = "background: #0c0c0c; color: #d9d9d9; padding: 12px; display: inline-block; margin: 0"
    return f'<pre style="{style}; font: 13px monospace">{body}</pre>'
