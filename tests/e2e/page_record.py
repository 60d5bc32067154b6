"""`PageRecord`: what a page did, to be read where its test fails."""

from __future__ import annotations

import time

from playwright.async_api import Error, Page, Request, WebSocket

__all__ = ["PageRecord"]

_MOST_LINES = 60
_TEXT_CHARACTERS = 600


class PageRecord:
    """Notes what a page says on its console, the requests that fail, and the first messages of its
    WebSockets. Not each request: a page of marimo has three hundred.

    Args:
        page: the page, before it is at any address.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._begun_at = time.monotonic()
        self._lines: list[str] = []
        page.on("console", lambda one: self._note(f"console {one.type}: {one.text}"))
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("requestfailed", self._request_failed)
        page.on("framenavigated", lambda frame: self._note(f"is at {frame.url}"))
        page.on("websocket", self._websocket)

    async def text(self) -> str:
        """All of it, with what the page shows now."""
        lines = [f"The page is at {self._page.url}", *self._lines]
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

    def _request_failed(self, request: Request) -> None:
        self._note(f"failed: {request.url}: {request.failure}")

    def _websocket(self, socket: WebSocket) -> None:
        self._note(f"WebSocket {socket.url}")
        socket.on("close", lambda _: self._note("WebSocket closed"))
        socket.on("socketerror", lambda error: self._note(f"WebSocket: {error}"))
        socket.on("framereceived", lambda frame: self._note(f"received {str(frame)[:120]}"))
