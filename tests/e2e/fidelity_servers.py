"""Checks of the fidelity tests: what options of the command line and settings of marimo do."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from e2e.fidelity import Visit
from e2e.fidelity_pages import press, shown, shows
from playwright.async_api import BrowserContext, WebSocket, expect
from sandboxes.wheels import write_wheel
from waiting import PATIENCE_S

__all__ = [
    "base_url",
    "browsers",
    "sandboxes",
    "server_sent_events",
    "session_ttl",
    "shared_session",
    "show_tracebacks",
    "tokens",
    "watch",
]


async def browsers(visit: Visit) -> object:
    pages = [await visit.open(), await (await visit.stranger()).new_page(), await visit.open()]
    await pages[1].goto(visit.url(), wait_until="commit")
    for number, page in enumerate(pages):
        await shows(page, "version 1 number 0 end")
        for _ in range(number):
            await page.get_by_role("slider").press("ArrowRight")
    for number, page in enumerate(pages):
        await shows(page, f"version 1 number {number} end")
    return [await shown(page, "version .* end") for page in pages]


async def shared_session(visit: Visit) -> object:
    first = await visit.open(session_id="s_shared")
    await shows(first, "version 1 number 0 end")
    await first.get_by_role("slider").press("ArrowRight")
    await shows(first, "version 1 number 1 end")
    second = await (await visit.stranger()).new_page()
    await second.goto(visit.url(session_id="s_shared"), wait_until="commit")
    seen = await shown(second, "version .* end")
    assert seen == "version 1 number 1 end"
    return seen


async def watch(visit: Visit) -> object:
    page = await visit.open()
    await shows(page, "version 1 number 0 end")
    await page.get_by_role("slider").press("ArrowRight")
    await shows(page, "version 1 number 1 end")
    seen = [await shown(page, "version .* end")]
    for version in (2, 3):
        source = visit.path.read_text()
        visit.path.write_text(source.replace(f"version {version - 1}", f"version {version}"))
        await shows(page, f"version {version} number 0 end")
        seen.append(await shown(page, "version .* end"))
        await page.get_by_role("slider").press("ArrowRight")
        await shows(page, f"version {version} number 1 end")
    return seen


async def sandboxes(visit: Visit) -> object:
    seen = []
    for version, notebook in (("1.0", "packages.py"), ("2.0", "packages_in_markdown.md")):
        write_wheel(visit.folder, "tiny", version)
        visit.path = visit.folder / notebook
        page = await visit.open()
        await shows(page, f"tiny {version} number 0 end")
        await page.get_by_role("slider").press("ArrowRight")
        await shows(page, f"tiny {version} number 1 end")
        seen.append(await shown(page, "tiny .* end"))
    return seen


async def show_tracebacks(visit: Visit) -> object:
    page = await visit.open()
    await shows(page, "return number / 0")
    text = await page.inner_text("body")
    traceback = re.search(r"Traceback.*?\nZeroDivisionError: division by zero", text, re.DOTALL)
    assert traceback is not None, text
    return traceback[0]


async def session_ttl(visit: Visit) -> object:
    page = await visit.open(folder=str(visit.common))
    await shows(page, "number 0 end")
    await page.get_by_role("slider").press("ArrowRight")
    await shows(page, "number 1 end")
    began, ended = visit.common / "began", visit.common / "ended"
    await comes(lambda: began.exists() and began.read_text() != "")
    host = int(began.read_text())
    assert not ended.exists()
    closed = time.monotonic()
    await page.close()
    # A host may end with its last session before the notebook has said that it is over.
    await comes(lambda: ended.exists() or not psutil.pid_exists(host))
    assert time.monotonic() - closed > 1, "the session did not wait for its page"
    return "ended"


async def comes(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():
            await asyncio.sleep(0.05)


async def tokens(visit: Visit) -> object:
    page = await visit.open()
    await page.locator("input[type=password]").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Invalid password")).to_be_visible()
    await page.locator("input[type=password]").fill("secret")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{visit.server.url}/")
    await page.goto(visit.url(), wait_until="commit")
    await shows(page, '"pressed": 0')
    await press(page, "Press")
    await shows(page, '"pressed": 1')
    await page.context.clear_cookies()
    await page.goto(visit.url(access_token="secret"), wait_until="commit")
    await shows(page, '"pressed": 0')
    await press(page, "Press")
    await shows(page, '"pressed": 1')
    file = await page.get_by_role("link", name="Large").get_attribute("href")
    known = await statuses(page.context, visit, "/", f"/{file}", "/health")
    unknown = await statuses(
        await visit.stranger(), visit, "/", f"/{file}", "/@file/5-other.txt", "/health"
    )
    assert known == [200, 200, 200]
    assert unknown[1:3] == [401, 401]
    return known, unknown


async def statuses(context: BrowserContext, visit: Visit, *paths: str) -> list[int]:
    """The status codes of the server's answers to requests of this profile."""
    urls = [visit.server.url + path for path in paths]
    return [(await context.request.get(url, max_redirects=0)).status for url in urls]


async def base_url(visit: Visit) -> object:
    page = await visit.page()
    await page.goto(visit.url("/apps/"), wait_until="commit")
    await shows(page, '"pressed": 0')
    await press(page, "Press")
    await shows(page, '"pressed": 1')
    root = await page.request.get(visit.server.url)
    assert root.status == 404
    async with page.expect_download() as downloading:
        await page.get_by_text("Large", exact=True).click()
    file = await downloading.value
    assert Path(await file.path()).read_bytes() == bytes(300_000)
    return root.status, re.findall(r'"(?:path|base)": "[^"]*"', await shown(page, "request .* end"))


async def server_sent_events(visit: Visit) -> object:
    page = await visit.page()
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    async with page.expect_response(re.compile("/sse")) as responding:
        await page.goto(visit.url(), wait_until="commit")
    response = await responding.value
    await shows(page, "count 0 steps [] end")
    for count in (1, 2):
        await press(page, "Add")
        await shows(page, f"count {count} steps [] end")
    await press(page, "Start")
    await shows(page, "count 2 steps [0, 1, 2] end")
    assert sockets == []
    return response.headers["content-type"], await shown(page, "count .* end")
