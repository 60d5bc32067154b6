"""Checks of the fidelity tests: what notebooks do on their pages, one function a feature."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urljoin

from e2e.fidelity import Visit
from playwright.async_api import Locator, Page, expect

__all__ = ["shown", "shows"]


async def query_parameters(visit: Visit) -> object:
    page = await visit.open(page="1", colour="red")
    await shows(page, "'page': '1', 'colour': 'red'} end")
    await press(page, "Turn")
    await page.wait_for_url("**page=2**")
    await press(page, "More")
    await page.wait_for_url("**colour=green**")
    await shows(page, "'page': '2', 'colour': ['red', 'green']} end")
    return parse_qs(page.url.partition("?")[2]), await shown(page, "parameters .* end")


async def arguments(visit: Visit) -> object:
    page = await visit.open()
    text = await shown(page, "arguments .* end")
    assert "'name': 'Ada', 'count': 3, 'verbose': ''}" in text
    assert "['--name', 'Ada', '--count', '3', '--verbose']" in text
    return text


async def request(visit: Visit) -> object:
    page = await visit.page()
    await page.context.add_cookies([{"name": "visitor", "value": "Bo", "url": visit.server.url}])
    await page.goto(visit.url(colour="red"), wait_until="commit")
    seen = json.loads((await shown(page, r"request \{.* end"))[len("request ") : -len(" end")])
    assert seen["cookie"] == "Bo"
    assert seen["query"]["colour"] == ["red"]
    assert seen["agent"] == await page.evaluate("navigator.userAgent")
    await press(page, "Press")
    await shows(page, '"pressed": 1')
    after = json.loads((await shown(page, r"request \{.* end"))[len("request ") : -len(" end")])
    for request in (seen, after):
        request["query"].pop("session_id", None)
    return seen, after


async def state(visit: Visit) -> object:
    page = await visit.open()
    await shows(page, "count 0 steps [] end")
    for count in (1, 2):
        await press(page, "Add")
        await shows(page, f"count {count} steps [] end")
    slider = page.get_by_role("slider")
    await expect(slider).to_have_attribute("aria-valuenow", "2")
    await slider.press("ArrowRight")
    await shows(page, "count 3 steps [] end")
    await press(page, "Start")
    await shows(page, "count 3 steps [0, 1, 2] end")
    await press(page, "Start")
    await shows(page, "count 3 steps [0, 1, 2, 0, 1, 2] end")
    return await shown(page, "count .* end")


async def widget(visit: Visit) -> object:
    page = await visit.open()
    await shows(page, "kernel counts 0 end")
    seen = []
    for button, said in (
        ("Up", "widget counts 1"),
        ("Up", "widget counts 2"),
        ("Ask", "kernel answers 200 with 5 bytes"),
        ("Set to 40", "widget counts 40"),
        ("Up", "widget counts 41"),
    ):
        await press(page, button)
        await shows(page, said)
        seen.append(said)
    await shows(page, "kernel counts 41 end")
    return seen


async def output(visit: Visit) -> object:
    page = await visit.open()
    await shows(page, "third line")
    await expect(page.get_by_text(re.compile("(replaced|second|cleared) line"))).to_have_count(0)
    await press(page, "Begin")
    await shows(page, "parts end")
    await expect(page.get_by_text(re.compile(r"late \d"))).to_have_count(3)
    parts = await page.get_by_text(re.compile(r"^part \d")).all_inner_texts()
    assert sorted(parts) == sorted(f"part {n}.{p}" for n in range(12) for p in range(5))
    for number in range(12):  # what one thread appends keeps its order
        own = [part for part in parts if part.startswith(f"part {number}.")]
        assert own == sorted(own)
    late = await page.get_by_text(re.compile(r"late \d")).all_inner_texts()
    assert late == ["late 0", "late 1", "late 2"]
    return sorted(parts), late


async def progress(visit: Visit) -> object:
    page = await visit.open()
    await press(page, "Begin")
    for number in range(4):
        await shows(page, f"Bar {number} done")
    await expect(page.get_by_text("4 / 4")).to_have_count(4)
    await shows(page, "By hand")
    await shows(page, "5 / 8")
    await shows(page, "Turned")
    await shows(page, "all round")
    bars = page.get_by_text(re.compile(r"^(Bar \d done|\d / \d|By hand|Turned|all round)$"))
    return sorted(await bars.all_inner_texts())


async def stop(visit: Visit) -> object:
    page = await visit.open()
    seen = []
    for ready in (False, True, False):
        await shows(page, "the answer is 42" if ready else "not ready")
        await expect(page.get_by_text("the answer is")).to_have_count(int(ready))
        seen.append(await page.get_by_text(re.compile("ready$")).all_inner_texts())
        await page.get_by_role("checkbox").click()
    return seen


async def downloads(visit: Visit) -> object:
    page = await visit.open()
    seen = {}
    for label, content in (
        ("At once", b"at once"),
        ("When asked", b"made when asked"),
        ("Large", bytes(300_000)),
    ):
        async with page.expect_download() as downloading:
            await page.get_by_text(label, exact=True).click()
        file = await downloading.value
        assert Path(await file.path()).read_bytes() == content
        seen[label] = file.suggested_filename
    return seen


async def tables(visit: Visit) -> object:
    page = await visit.open()
    rows = page.locator("tbody tr")
    seen = []

    async def turns_to(name: str) -> None:
        await expect(rows.first.get_by_text(name, exact=True)).to_be_visible()
        seen.append(await rows.all_inner_texts())

    await turns_to("name-1")
    await page.get_by_test_id("next-page-button").click()
    await turns_to("name-11")
    await page.get_by_test_id("last-page-button").click()
    await turns_to("name-991")
    search = page.get_by_placeholder("Search...")
    await search.or_(page.get_by_test_id("show-search-button")).first.click()
    await search.fill("name-77")
    await turns_to("name-77")
    await rows.nth(2).get_by_role("checkbox").click()
    await shows(page, "selected [771] end")
    return seen


async def explorer(visit: Visit) -> object:
    page = await visit.open()
    await shows(page, "explored {} end")
    # One axis, and no more: with it marimo 0.25's page takes the element off, by itself.
    await page.locator("marimo-data-explorer").get_by_role("combobox").first.click()
    await page.get_by_role("option", name="height").click()
    await shows(page, "explored {'x': 'height'} end")
    return await shown(page, "explored .* end")


async def asking(visit: Visit) -> object:
    page = await visit.open()
    prompt = page.get_by_role("textbox")
    await expect(prompt.or_(page.get_by_text("internal error"))).to_be_visible()
    assert await prompt.count() == 1, "the page asks nothing"
    await prompt.fill("Ada")
    await prompt.press("Enter")
    await shows(page, "the answer is Ada")
    return await shown(page, "the answer is .*")


async def embedding(visit: Visit) -> object:
    page = await visit.open()
    await shows(page, "inner product 2 end")
    await shows(page, "outer sees 2 end")
    await shows(page, "Clone")  # the last cell has run
    await page.get_by_role("slider").press("ArrowRight")
    await shows(page, "outer sees 4 end")
    await press(page, "Double")
    await shows(page, "inner product 8 end")
    await shows(page, "outer sees 8 end")
    await press(page, "Clone")
    clone = page.get_by_role("region", name="Clone")
    await expect(clone.get_by_text("inner product 2 end")).to_be_visible()
    await clone.get_by_role("slider").press("End")
    await expect(clone.get_by_text("inner product 20 end")).to_be_visible()
    await shows(page, "outer sees 8 end")
    return await page.get_by_text(re.compile(" end$")).all_inner_texts()


async def sql(visit: Visit) -> object:
    page = await visit.open()
    await shows(page, "older ['Ada', 'Di', 'Cy'] largest [16] end")
    first = page.locator("table").first.locator("tbody tr")
    await expect(first).to_have_count(3)
    await page.get_by_role("slider").press("End")
    await shows(page, "older [] largest [16] end")
    await page.get_by_role("slider").press("Home")
    await shows(page, "older ['Bo', 'Ada', 'Di', 'Cy'] largest [16] end")
    await expect(first).to_have_count(4)
    return await first.all_inner_texts()


async def together(visit: Visit) -> object:
    page = await visit.open()

    def region(name: str) -> Locator:
        return page.get_by_role("region", name=name, exact=True)

    await shows(page, "beside True end")
    await shows(page, "number 0 selected [] explored {} end")
    async with page.expect_console_message(
        lambda message: "complains about 1" in message.text
    ) as complaining:
        await region("Number").get_by_role("slider").press("ArrowRight")
    seen = re.findall(r"STD[A-Z]+|cell complains.*", (await complaining.value).text)
    assert "STDERR" in seen

    content = await picture(page, "Noise 1")
    seen.append(hashlib.sha256(content).hexdigest())
    await shows(page, f"noise 1 {seen[-1]} end")
    async with page.expect_download() as downloading:
        await page.get_by_text("Save", exact=True).click()
    assert Path(await (await downloading.value).path()).read_bytes() == content

    rows = region("Table").locator("tbody tr")
    await region("Table").get_by_test_id("next-page-button").click()
    await expect(rows.first.get_by_text("name-11", exact=True)).to_be_visible()
    await rows.nth(1).get_by_role("checkbox").click()
    await shows(page, "number 1 selected [12] explored {} end")
    await region("Explorer").get_by_role("combobox").first.click()
    await page.get_by_role("option", name="height").click()
    await shows(page, "number 1 selected [12] explored {'x': 'height'} end")

    file = {"name": "noise.png", "mimeType": "image/png", "buffer": content}
    await region("Upload").locator("input[type=file]").set_input_files(file)
    await shows(page, f"uploaded ['noise.png'] {[seen[-1]]} end")
    await press(page, "Begin")
    await shows(page, "Worked")
    await shows(page, "4 / 4")
    return [*seen, await rows.all_inner_texts()]


async def picture(page: Page, name: str) -> bytes:
    """What the page shows as a picture, which has to be a large virtual file."""
    image = page.get_by_role("img", name=name)
    await expect(image).not_to_have_js_property("naturalWidth", 0)
    source = await image.get_attribute("src") or ""
    assert "@file/" in source
    content = await (await page.request.get(urljoin(page.url, source))).body()
    assert len(content) > 2**20
    return content


async def press(page: Page, button: str) -> None:
    await page.get_by_role("button", name=button, exact=True).click()


async def shows(page: Page, text: str) -> None:
    await expect(page.get_by_text(text).first).to_be_visible()


async def shown(page: Page, pattern: str) -> str:
    """The text on the page in which the pattern is found."""
    place = page.get_by_text(re.compile(pattern)).first
    while not re.search(pattern, (text := await place.inner_text()).replace("\n", " ")):
        pass  # what was found was replaced before it was read
    return text
