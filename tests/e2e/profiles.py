"""`profile`: a browser's profile for tests, on whose pages nothing turns for ever."""

from __future__ import annotations

from typing import Any

from e2e.harness import PATIENCE_MS
from playwright.async_api import Browser, BrowserContext

__all__ = ["profile"]

# While an app works, marimo's page turns an hourglass, and Chromium draws it sixty times a second:
# that takes a tenth of a processor, and most of all where everything is slow.
_ONCE = """
const once = new CSSStyleSheet();
once.replaceSync("*, ::before, ::after { animation-iteration-count: 1 !important }");
document.adoptedStyleSheets.push(once);
"""


async def profile(browser: Browser, **options: Any) -> BrowserContext:
    """A new profile: no cookies, no storage, nothing fetched.

    Args:
        browser: of which browser.
        options: of Playwright's `new_context`.
    """
    context = await browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    await context.add_init_script(_ONCE)
    return context
