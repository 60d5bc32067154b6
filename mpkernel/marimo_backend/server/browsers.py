"""Telling browsers apart, by a cookie of their own: `Settings.session_store_scope = "browser"`.

A page gets the cookie together with its HTML, and sends it with its WebSocket. It names a browser
and not a user: only what the same user (see `authority`) had in this browser comes back. A page in
a frame of another site does not send the cookie.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any

__all__ = ["browser_of", "group_of", "naming_browsers"]

Send = Callable[[Any], Awaitable[None]]

_COOKIE = "mpkernel_browser"
_NAME_BYTES = 24
_NAME = re.compile(rf"(?:^|; ?){_COOKIE}=([\w-]{{32}})(?:;|$)", re.ASCII)


def browser_of(scope: Any) -> str | None:
    """The name of the browser that makes a request; None if it has none yet."""
    for name, value in scope.get("headers", ()):
        if name == b"cookie" and (found := _NAME.search(value.decode("latin-1"))):
            return found[1]
    return None


def group_of(scope: Any) -> str:
    """The name of all sessions that a browser has of the app that a request is for; "" for none."""
    browser = browser_of(scope)
    if browser is None:
        return ""
    return f"browser {browser} {scope.get('root_path', '')}"


def naming_browsers(scope: Any, send: Send, *, ttl_s: float) -> Send:
    """An ASGI `send` that gives the browser a name with each page, or its old one for longer.

    Args:
        scope: of the request.
        send: takes the answer.
        ttl_s: how long the browser keeps it.
    """
    cookie: SimpleCookie = SimpleCookie()
    cookie[_COOKIE] = browser_of(scope) or secrets.token_urlsafe(_NAME_BYTES)
    cookie[_COOKIE].update(
        {
            "path": scope.get("root_path") or "/",
            "max-age": str(int(ttl_s)),
            "httponly": True,
            "samesite": "Lax",
            "secure": scope.get("scheme") == "https",
        }
    )
    header = (b"set-cookie", cookie[_COOKIE].OutputString().encode("latin-1"))

    async def send_named(message: Any) -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            message = {**message, "headers": [*message.get("headers", ()), header]}
        await send(message)

    return send_named


def _is_page(start: Any) -> bool:
    headers = dict(start.get("headers", ()))
    return bool(headers.get(b"content-type", b"").startswith(b"text/html"))
