"""What a person sees: the example apps and the test notebooks in a real Chromium.

Loading marimo's page is the expensive part, so each notebook is opened once and the tests
share its tab. A test therefore sets the sliders it looks at, and expects nothing of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from e2e.harness import EXAMPLES, NOTEBOOKS, Server, mapped_files
from e2e.steps import Steps
from playwright.async_api import BrowserContext, ConsoleMessage, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

SALES = EXAMPLES / "sales" / "dashboard.py"
WEATHER = EXAMPLES / "weather" / "stations.py"
LIBZMQ = re.compile(r"libzmq|/zmq/")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = ["--redirect-console-to-browser"]
    with Server(EXAMPLES, NOTEBOOKS, options=options, standby=True) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sales(server: Server, context: BrowserContext) -> Page:
    return await open_notebook(context, server, SALES)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weather(server: Server, context: BrowserContext) -> Page:
    return await open_notebook(context, server, WEATHER)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_tabs(server: Server, context: BrowserContext) -> AsyncIterator[list[ConsoleTab]]:
    """Two tabs of one notebook, whose cells print the token of the tab they run for."""
    tabs = []
    for token in ("amber", "violet"):
        tab = ConsoleTab(token, await context.new_page())
        url = page_of(server, NOTEBOOKS / "console.py", token=token)
        await tab.page.goto(url, wait_until="commit")
        await expect(tab.page.get_by_text(f"tab of {token}")).to_be_visible()
        tabs.append(tab)
    yield tabs


async def test_the_home_page_links_to_every_app(server: Server, page: Page) -> None:
    await page.goto(server.url, wait_until="commit")
    for notebook in (SALES, WEATHER, *NOTEBOOKS.glob("*.py")):
        link = page.locator(f'a[href$="{urlencode({"file": str(notebook)})}"]')
        await expect(link).to_be_visible()


async def test_both_examples_show_the_title_of_their_own_utils(sales: Page, weather: Page) -> None:
    for page, notebook in ((sales, SALES), (weather, WEATHER)):
        title = example_utils(notebook).TITLE
        await expect(page).to_have_title(title)
        await expect(page.get_by_role("heading", name=title)).to_be_visible()
        await expect(page.get_by_text(f"from the folder {notebook.parent.name};")).to_be_visible()


async def test_each_example_runs_in_a_process_of_its_own(
    server: Server, sales: Page, weather: Page
) -> None:
    pids = {await shown_pid(sales), await shown_pid(weather)}
    assert len(pids) == 2
    assert pids <= {process.pid for process in server.descendants()}


async def test_text_plot_and_table_follow_the_slider(sales: Page) -> None:
    for months in (2, 6, 7):
        await set_slider(sales, steps=months - 2)
        await expect_sales_of(sales, months)


async def test_the_plot_follows_the_dropdown(weather: Page) -> None:
    for station, metres in (("Summit", "3,105"), ("Village", "1,180")):
        await weather.get_by_role("combobox").first.select_option(station)
        await expect(weather.get_by_role("img", name=f"{station}, ")).to_be_visible()
        await expect(weather.get_by_text(f"{station} at {metres} m")).to_be_visible()


async def test_the_download_is_the_table_as_csv(sales: Page) -> None:
    utils = example_utils(SALES)
    for months in (10, 11):
        await set_slider(sales, steps=months - 2)
        await expect_sales_of(sales, months)
        name, content = await download(sales, "Download as CSV")
        assert name == "sales.csv"
        assert content == utils.to_csv(utils.monthly_sales(months))


async def test_a_large_download_arrives_intact(server: Server, page: Page) -> None:
    await page.goto(page_of(server, NOTEBOOKS / "download.py"), wait_until="commit")
    for mebibytes in (1, 4):
        await set_slider(page, steps=mebibytes - 1)
        expected = hashlib.shake_128(b"content").digest(1 << 20) * mebibytes
        await expect(page.get_by_text(hashlib.sha256(expected).hexdigest())).to_be_visible()
        name, content = await download(page, "Content")
        assert name == "content.bin"
        assert content == expected


async def test_a_matplotlib_figure_and_a_pandas_table_follow_the_slider(
    server: Server, page: Page
) -> None:
    await page.goto(page_of(server, NOTEBOOKS / "plots.py"), wait_until="commit")
    figures = set()
    for points, last in ((5, 16), (6, 25)):
        await set_slider(page, steps=points - 2)
        await expect(page.get_by_text(f"the last of {points} squares is {last}")).to_be_visible()
        await expect(page.get_by_role("cell", name=str(last), exact=True)).to_be_visible()
        figure = page.locator("img[src*='image/png'], img[src*='/@file/']")
        await expect(figure).to_be_visible()
        await expect(figure).not_to_have_js_property("naturalWidth", 0)
        figures.add(await figure.get_attribute("src"))
    assert len(figures) == 2


@pytest.mark.parametrize("printer", ["cell", "thread"])
async def test_console_output_reaches_its_own_tab_and_no_other(
    console_tabs: list[ConsoleTab], printer: str
) -> None:
    amber, violet = console_tabs
    for tab, steps in ((amber, 3), (violet, 4), (amber, 5), (violet, 6)):
        await set_slider(tab.page, steps=steps)
        await tab.logged(f"{printer} of {tab.token} prints {steps}")
    assert violet.token not in amber.log
    assert amber.token not in violet.log


async def test_standard_error_is_told_from_standard_output(console_tabs: list[ConsoleTab]) -> None:
    tab = console_tabs[0]
    await set_slider(tab.page, steps=9)
    await tab.logged(f"cell of {tab.token} prints 9")
    await tab.logged(f"cell of {tab.token} complains 9")
    assert re.search(r"STDOUT.*cell of \w+ prints 9", tab.log)
    assert re.search(r"STDERR.*cell of \w+ complains 9", tab.log)


async def test_no_process_of_the_server_loads_zeromq(
    server: Server, sales: Page, weather: Page
) -> None:
    await expect(sales.get_by_role("slider")).to_be_visible()
    await expect(weather.get_by_role("slider")).to_be_visible()
    assert_no_process_loaded_zeromq(server)


async def test_an_app_works_with_pyzmq_blocked(context: BrowserContext, tmp_path: Path) -> None:
    async with Server(EXAMPLES, env=pyzmq_blocked(tmp_path)) as server:
        page = await open_notebook(context, server, SALES)
        await set_slider(page, steps=6)
        await expect_sales_of(page, 8)
        assert_no_process_loaded_zeromq(server)
        await page.close()


@dataclass
class ConsoleTab:
    """A page and what it logs to its developer console: cells' output goes there."""

    token: str
    page: Page
    log: str = ""

    def __post_init__(self) -> None:
        self._arrival = asyncio.Event()
        self.page.on("console", self._take)

    async def logged(self, text: str, timeout_s: float = 30.0) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while text not in self.log:
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            raise AssertionError(f"no {text!r} within {timeout_s} s in:\n{self.log}") from None

    def _take(self, message: ConsoleMessage) -> None:
        self.log += message.text + "\n"
        self._arrival.set()


async def open_notebook(context: BrowserContext, server: Server, notebook: Path) -> Page:
    page = await context.new_page()
    await page.goto(page_of(server, notebook), wait_until="commit")
    await expect(page.get_by_role("slider")).to_be_visible()
    return page


def page_of(server: Server, notebook: Path, **query: str) -> str:
    return f"{server.url}/?{urlencode({'file': str(notebook), **query})}"


async def set_slider(page: Page, steps: int) -> None:
    """Moves the page's only slider with the keyboard, to `steps` above its minimum."""
    slider = page.get_by_role("slider")
    lowest = int(await slider.get_attribute("aria-valuemin") or 0)
    await Steps(page).set(slider, lowest + steps)


async def shown_pid(page: Page) -> int:
    sentence = await page.get_by_text(re.compile(r"runs in process \d+")).inner_text()
    found = re.search(r"runs in process (\d+)", sentence)
    assert found is not None
    return int(found[1])


async def expect_sales_of(page: Page, months: int) -> None:
    """The dashboard shows this many months, in its text, its plot and its table."""
    await expect(page.get_by_text(f"{months} months, ")).to_be_visible()
    plot = page.get_by_role("img", name=f"Revenue of {months} months")
    await expect(plot).to_be_visible()
    await expect(plot.locator("rect")).to_have_count(months)
    await expect(page.get_by_text(f"{months} rows, 5 columns")).to_be_visible()
    revenue = example_utils(SALES).monthly_sales(months)[0]["revenue"]
    await expect(page.get_by_role("cell", name=f"{revenue:,}", exact=True)).to_be_visible()


async def download(page: Page, label: str) -> tuple[str, bytes]:
    """Clicks the button and returns the file's name and content."""
    async with page.expect_download() as downloading:
        await page.get_by_text(label, exact=True).click()
    file = await downloading.value
    return file.suggested_filename, (await file.path()).read_bytes()


def example_utils(notebook: Path) -> ModuleType:
    """The `utils` beside an example, loaded here under a name that clashes with nothing."""
    path = notebook.with_name("utils.py")
    spec = importlib.util.spec_from_file_location(f"{notebook.parent.name}_utils", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pyzmq_blocked(directory: Path) -> dict[str, str]:
    """An environment in which `import zmq` fails as if it were not installed."""
    package = directory / "blocked" / "zmq"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('pyzmq is blocked by this test')\n")
    return {"PYTHONPATH": str(package.parent)}


def assert_no_process_loaded_zeromq(server: Server) -> None:
    hosts = [process.pid for process in server.descendants()]
    assert hosts
    assert [pid for pid in (server.pid, *hosts) if LIBZMQ.search(mapped_files(pid))] == []
