"""A real page whose server is killed and started again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from e2e.steps import Steps
from e2e.test_outliving import Served, until_written
from playwright.async_api import Page, expect

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

SHOWN = re.compile(r"(.*) in process (\d+) end")


async def test_a_page_goes_on_without_a_reload_or_with_one_that_it_does_itself(
    page: Page, tmp_path: Path
) -> None:
    served = Served(tmp_path, "inputs.py")
    steps = Steps(page)
    async with served.server() as server:
        await page.goto(server.url, wait_until="commit")
        await expect(page.get_by_role("slider")).to_have_count(8)
        await expect(page.get_by_text(SHOWN)).to_be_visible()
        await page.evaluate("window.isTheFirst = true")
        await steps.set(page.get_by_role("slider").first, 4)
        await expect(page.get_by_text("4; [0, 0]")).to_be_visible()
        await page.get_by_role("button", name="Count 0").click()
        await page.get_by_role("button", name="Plus").click()
        await expect(page.get_by_text("; 1; 1 in process")).to_be_visible()
        shown = await page.get_by_text(SHOWN).inner_text()
        await until_written(served, 1)
        server.kill()
    async with served.server() as server:
        await expect(page.get_by_text(shown)).to_have_count(0)
        # The slider and the widget are as they were; the button did not run again.
        await expect(
            page.get_by_text(re.compile(r"^4; \[0, 0\].*; 0; 1 in process"))
        ).to_be_visible()
        await expect(page.get_by_role("slider").first).to_have_attribute("aria-valuenow", "4")
        await expect(page.get_by_role("button", name="Count 1")).to_be_visible()
        banner = page.get_by_role("status").filter(has_text="The server was restarted")
        await expect(banner).to_be_visible()
        assert await page.evaluate("window.isTheFirst")
        await steps.set(page.get_by_role("slider").first, 5)
        await expect(page.get_by_text("5; [0, 0]")).to_be_visible()
        await until_written(served, 1)
        server.kill()
    code = served.path.read_text()
    cell = "@app.cell\ndef _():\n    version = 'The new version'\n    version\n    return\n\n\n"
    served.path.write_text(code.replace("@app.cell", cell + "@app.cell", 1))
    async with served.server():
        await expect(page.get_by_text("The new version")).to_be_visible()
        await expect(
            page.get_by_text(re.compile(r"^5; \[0, 0\].*; 0; 1 in process"))
        ).to_be_visible()
        await expect(page.get_by_role("button", name="Count 1")).to_be_visible()
        await expect(banner).to_be_visible()
        assert not await page.evaluate("window.isTheFirst")
        assert "session_id" not in page.url
        await page.goto("about:blank")
