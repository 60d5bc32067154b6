"""A real page whose server is killed and started again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from e2e.outliving import Served, until_written
from e2e.steps import Steps
from playwright.async_api import Browser, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAST_VISIT = "This tab begins as your last one was"
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
    await page.get_by_role("button", name="Plus").click()
    await expect(page.get_by_text("Failed update value", exact=True)).to_be_visible()
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


async def until_slider_is(page: Page, value: int) -> None:
    slider = page.get_by_role("slider").first
    await expect(slider).to_have_attribute("aria-valuenow", str(value))
    await expect(page.get_by_text(f"number {value} squared")).to_be_visible()


async def test_a_tab_begins_as_the_last_one_of_its_browser_was(
    browser: Browser, tmp_path: Path
) -> None:
    served = Served(tmp_path, "slider.py", "--session-store-scope", "browser")
    ours = await browser.new_context()
    try:
        async with served.server() as server:
            first = await ours.new_page()
            await first.goto(server.url, wait_until="commit")
            await until_slider_is(first, 1)
            assert await first.get_by_role("status").filter(has_text=LAST_VISIT).count() == 0
            await Steps(first).set(first.get_by_role("slider").first, 4)
            await until_slider_is(first, 4)
            # Beside the first, and in its place.
            second = await ours.new_page()
            await second.goto(server.url, wait_until="commit")
            await until_slider_is(second, 4)
            await first.reload(wait_until="commit")
            await until_slider_is(first, 4)
            await Steps(second).set(second.get_by_role("slider").first, 5)
            await until_slider_is(second, 5)
            (cookie,) = await ours.cookies()
            assert cookie["httpOnly"]
            assert cookie["sameSite"] == "Lax"
            # Another browser learns nothing.
            async with await browser.new_context() as others:
                stranger = await others.new_page()
                await stranger.goto(server.url, wait_until="commit")
                await until_slider_is(stranger, 1)
            await first.close()
            await second.close()
            await until_written(served, 3)
            server.kill()
        async with served.server() as server:
            tomorrow = await ours.new_page()
            await tomorrow.goto(server.url, wait_until="commit")
            await until_slider_is(tomorrow, 5)
            banner = tomorrow.get_by_role("status").filter(has_text=LAST_VISIT)
            await banner.get_by_role("button", name="Start afresh").click()
            await until_slider_is(tomorrow, 1)
            await tomorrow.reload(wait_until="commit")
            await until_slider_is(tomorrow, 1)
    finally:
        await ours.close()
