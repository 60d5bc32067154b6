"""Moves a slider step by step."""

from __future__ import annotations

import asyncio

from playwright.async_api import Locator, Page, Request

__all__ = ["Steps"]


class Steps:
    """The keyboard on the sliders of a page.

    marimo's page posts each value at once, over whichever connection is free: of two values without
    a pause between them the server may well read the second one first, and the first one counts.
    So a step here waits until what it posted is answered.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._unanswered: set[Request] = set()
        self._answered = asyncio.Event()
        page.on("request", lambda request: self._unanswered.add(request))
        page.on("requestfinished", self._has_answer)
        page.on("requestfailed", self._has_answer)

    async def set(self, slider: Locator, value: int) -> None:
        """Move a slider whose steps are 1 to a value."""
        here = int(await slider.get_attribute("aria-valuenow") or 0)
        for _ in range(abs(value - here)):
            await self.press(slider, "ArrowRight" if value > here else "ArrowLeft")

    async def press(self, slider: Locator, key: str) -> None:
        """Press a key that changes the value."""
        async with self._page.expect_request(lambda request: request.method == "POST"):
            await slider.press(key)
        while any(request.method == "POST" for request in self._unanswered):
            self._answered.clear()
            await self._answered.wait()

    def _has_answer(self, request: Request) -> None:
        self._unanswered.discard(request)
        self._answered.set()
