"""The picture in README is a page of the running product, and can be made again:

python -m pytest tests/e2e/test_picture.py --picture mpkernel/docs/banner.png

It shows an example notebook just after its process was killed: the slider stands where it stood,
and the banner says what happened.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from e2e.harness import EXAMPLES, Server
from e2e.steps import Steps
from playwright.async_api import Browser, expect

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

SALES = EXAMPLES / "sales" / "dashboard.py"
PROCESS = re.compile(r"runs in process (\d+)")
MAX_BYTES = 150_000


@pytest.fixture
def picture(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    """Where the picture goes."""
    return pytestconfig.getoption("picture") or tmp_path / "banner.png"


async def test_the_picture_shows_a_page_that_came_back(browser: Browser, picture: Path) -> None:
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
