"""Fixtures of the end-to-end tests: a browser for each module, a new tab for each test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.fidelity_table import Table
from e2e.harness import NOTEBOOKS, PATIENCE_MS
from e2e.page_record import PageRecord
from e2e.profiles import profile
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

pytest.register_assert_rewrite(
    "e2e.chaos", "e2e.fidelity_elements", "e2e.fidelity_pages", "e2e.fidelity_servers"
)

_CHROMIUM_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
# The first three are pages of Chromium's address bar, which every new window would load: a quarter
# of what a page of marimo takes. `ScriptStreaming` parses each script while it is fetched, even if
# another tab has compiled it: without it, a page takes a fifth less. The others are Playwright's
# own list, which this one replaces.
_CHROMIUM_FEATURES_OFF = (
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "ScriptStreaming",
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
)
_CHROMIUM_OPTIONS = (
    "--headless",
    # All tabs of a profile share a process, which compiles marimo's page once: from the third tab
    # on, a page takes half the time.
    "--process-per-site",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(_CHROMIUM_FEATURES_OFF)}",
)

expect.set_options(timeout=PATIENCE_MS)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fidelity-table", type=Path, help="write the table of fidelity here")
    parser.addoption(
        "--fidelity-cluster",
        type=float,
        metavar="MS",
        help="look at fidelity on a cluster, too; a packet to its machines takes so many ms",
    )
    parser.addoption("--pictures", type=Path, help="write those of the docs into this folder")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("fidelity_table", default=None):
        config.pluginmanager.register(Table(path))


@pytest.fixture
def notebook_dir(tmp_path: Path) -> Path:
    """A copy of the test notebooks that the test may change."""
    return Path(shutil.copytree(NOTEBOOKS, tmp_path / "notebooks"))


@pytest.fixture
def pictures(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    """The folder where the pictures of the documentation go."""
    folder: Path | None = pytestconfig.getoption("pictures")
    return folder if folder is not None else tmp_path


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium: the one without windows, in which a page takes a tenth less
    time, or else the other one."""
    for name in _CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    pytest.fail(
        "the browser tests need Chromium: apt-get install chromium-headless-shell", pytrace=False
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One Chromium for all tests of a module, which must run in the module's event loop."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_CHROMIUM_OPTIONS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """One profile for a module: the 300 files of marimo's page are fetched cold only once."""
    context = await profile(browser, viewport={"width": 1200, "height": 1400})
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """A new tab, and so a session of its own. What it did is shown if its test fails."""
    page = await context.new_page()
    record = PageRecord(page)
    yield page
    print(await record.text())
    await page.close()
