"""The examples, as a visitor sees them: each shows what it promises, in a real Chromium."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from e2e.harness import EXAMPLES, Server
from playwright.async_api import BrowserContext, Page, expect
from sandboxes.programs import uv_with_marimo
from sandboxes.wheels import write_wheel

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTEBOOKS = sorted(path for path in EXAMPLES.rglob("*.py") if "marimo.App" in path.read_text())
HEADER = re.compile(r"^# /// script\n((?:#.*\n)+?)# ///$", re.MULTILINE)


VERSIONS = ("4.9.0", "4.12.0")
"""Of humanize, which the two sandboxes have."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As `mpkernel run --examples --sandbox`; humanize comes from wheels of our own."""
    folder = tmp_path_factory.mktemp("kept")
    for version in VERSIONS:
        write_wheel(folder / "wheels", "humanize", version)
    env = {
        "XDG_CACHE_HOME": str(folder / "cache"),
        **uv_with_marimo(),
        "UV_FIND_LINKS": str(folder / "wheels"),
    }
    with Server(EXAMPLES, options=["--sandbox"], env=env) as server:
        yield server
        assert "in script metadata is ignored" not in server.output()


async def opened(context: BrowserContext, server: Server, name: str) -> Page:
    page = await context.new_page()
    query = urlencode({"file": str(EXAMPLES / name)})
    await page.goto(f"{server.url}/?{query}", wait_until="commit")
    return page


async def shown_pid(page: Page) -> int:
    text = await page.get_by_text(re.compile(r"runs in process \d+")).text_content()
    return int(re.findall(r"process (\d+)", text or "")[0])


async def test_the_gallery_shows_a_title_a_description_and_a_picture_of_each(
    server: Server, page: Page
) -> None:
    await page.goto(server.url, wait_until="commit")
    for notebook in NOTEBOOKS:
        key = urlencode({"file": notebook.relative_to(EXAMPLES)})
        card = page.locator(f'a[href$="{key}"]')
        about = about_of(notebook)
        await expect(card).to_contain_text(about["title"])
        await expect(card).to_contain_text(about["description"])
        await expect(card.locator("img")).to_have_js_property("naturalWidth", 1200)


async def test_a_segfault_gives_the_tab_another_process_with_its_values(
    server: Server, context: BrowserContext
) -> None:
    page = await opened(context, server, "kill_me.py")
    slider = page.get_by_role("slider")
    await slider.focus()
    await page.keyboard.press("End")
    await expect(page.get_by_text("The slider is at 10.")).to_be_visible()
    before = await shown_pid(page)
    await page.get_by_role("button", name="Segfault").click()
    await expect(page.get_by_text(f"runs in process {before}")).to_have_count(0)
    assert await shown_pid(page) != before
    await expect(page.get_by_text("The slider is at 10.")).to_be_visible()
    await page.close()


async def test_a_new_tab_does_not_wait_for_one_that_computes(
    server: Server, context: BrowserContext
) -> None:
    first = await opened(context, server, "beside_others.py")
    await expect(first.get_by_text("Nothing is computed.")).to_be_visible()
    await first.get_by_role("slider").focus()
    await first.keyboard.press("End")
    await first.get_by_role("button", name="Compute").click()
    await expect(first.get_by_text("It computes.")).to_be_visible()
    second = await opened(context, server, "beside_others.py")
    await expect(second.get_by_text("Nothing is computed.")).to_be_visible()
    await expect(first.get_by_text("It computes.")).to_be_visible()
    assert await shown_pid(first) != await shown_pid(second)
    await first.close()
    await second.close()


async def test_a_large_table_is_shown_in_pages_and_downloaded_whole(
    server: Server, context: BrowserContext
) -> None:
    page = await opened(context, server, "large_table.py")
    await expect(page.get_by_role("cell", name="7", exact=True)).to_be_visible()
    async with page.expect_download() as coming:
        await page.get_by_text("Download all 50,000 rows", exact=True).click()
    lines = Path(await (await coming.value).path()).read_text().splitlines()
    assert (lines[0], len(lines)) == ("number,square,sine", 50_001)
    assert lines[-1].startswith("49999,2499900001,")
    await page.close()


async def test_output_is_shown_while_a_cell_runs(server: Server, context: BrowserContext) -> None:
    page = await opened(context, server, "progress.py")
    end = page.get_by_text("All steps are done.")
    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_text("step 1 is done")).to_be_visible()
    await expect(page.get_by_text("Works")).to_be_visible()
    await expect(end).to_have_count(0)
    await expect(end).to_be_visible()
    await expect(page.get_by_text(re.compile(r"step \d is done"))).to_have_count(8)
    await page.close()


async def test_two_sandboxes_have_two_versions_of_a_package(
    server: Server, context: BrowserContext
) -> None:
    pages = [await opened(context, server, f"sandboxes/{name}.py") for name in ("old", "new")]
    folders = set()
    for page, version in zip(pages, VERSIONS, strict=True):
        says = page.get_by_text(f"This app has humanize {version}, in the environment")
        await expect(says).to_be_visible()
        folders.add((await says.text_content() or "").split()[-1])
        await page.close()
    assert len(folders) == 2


def about_of(notebook: Path) -> dict[str, str]:
    found = HEADER.search(notebook.read_text())
    assert found is not None, notebook
    header = tomllib.loads("\n".join(line[2:] for line in found[1].splitlines()))
    about: dict[str, str] = header["tool"]["marimo"]["opengraph"]
    return about
