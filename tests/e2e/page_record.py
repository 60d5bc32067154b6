"""`PageRecord`: what a page did, to be read where its test fails."""

from __future__ import annotations

import time
from typing import Any

from playwright.async_api import Error, Page, WebSocket

__all__ = ["PageRecord"]

_MOST_LINES = 60
_TEXT_CHARACTERS = 600


class PageRecord:
    """Notes what a page says on its console, the requests that fail or are not answered, and the
    first messages of its WebSockets.

    Args:
        page: the page, before it is at any address.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._begun_at = time.monotonic()
        self._lines: list[str] = []
        self._asked: dict[Any, float] = {}
        page.on("console", lambda one: self._note(f"console {one.type}: {one.text}"))
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("request", self._request)
        page.on("requestfinished", lambda request: self._asked.pop(request, None))
        page.on("requestfailed", self._request_failed)
        page.on("websocket", self._websocket)

    async def text(self) -> str:
        """All of it, with what the page shows now."""
        lines = [f"The page is at {self._page.url}", *self._lines]
        lines += [f"{at:6.1f} s no answer yet: {one.url}" for one, at in self._asked.items()]
        try:
            shown = await self._page.locator("body").inner_text(timeout=2000)
        except Error as error:
            shown = f"({error.message.splitlines()[0]})"
        return "\n".join([*lines, "It shows:", shown[:_TEXT_CHARACTERS]])

    def _note(self, line: str) -> None:
        if len(self._lines) < _MOST_LINES:
            self._lines.append(f"{self._now():6.1f} s {line[:_TEXT_CHARACTERS]}")

    def _now(self) -> float:
        return time.monotonic() - self._begun_at

    def _request(self, request: Any) -> None:
        self._asked[request] = self._now()
        if request.is_navigation_request():
            self._note(f"goes to {request.url}")

    def _request_failed(self, request: Any) -> None:
        self._asked.pop(request, None)
        self._note(f"failed: {request.url}: {request.failure}")

    def _websocket(self, socket: WebSocket) -> None:
        self._note(f"WebSocket {socket.url}")
        socket.on("close", lambda _: self._note("WebSocket closed"))
        socket.on("socketerror", lambda error: self._note(f"WebSocket: {error}"))
        socket.on("framereceived", lambda frame: self._note(f"received {str(frame)[:120]}"))
