"""Telling that a page has connected again.

When a page connects again and marimo's server still has its session, it sends the page the message
"reconnected", but not what the session sent meanwhile. A page that was away while its app's process
was replaced would still show what the old process had made. So here a function is called when that
message has been sent.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

__all__ = ["named_session_of", "session_of", "telling_of_reconnection"]

Send = Callable[[Any], Awaitable[None]]

_SESSION_HEADER = b"marimo-session-id"
_RECONNECTED = re.compile(r'(?:data: )?\{"op": ?"reconnected"')


def session_of(scope: Any) -> str | None:
    """The name of the session that a page's connection is for; None for any other request."""
    names = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_id")
    is_page = scope["type"] == "websocket" or scope["path"].endswith("/sse")
    return names[0] if names and is_page else None


def named_session_of(scope: Any) -> str | None:
    """The name of the session that another request of a page is for; None if it names none."""
    sessions = [value for name, value in scope["headers"] if name == _SESSION_HEADER]
    return sessions[0].decode("latin-1") if sessions else None


def telling_of_reconnection(send: Send, tell: Callable[[], None]) -> Send:
    """An ASGI `send` that calls `tell` when it has sent that the page is connected again, over a
    WebSocket or as a server-sent event."""
    told = False

    async def send_message(message: Any) -> None:
        nonlocal told
        await send(message)
        if not told and _RECONNECTED.match(_beginning_of(message)):
            told = True
            tell()

    return send_message


def _beginning_of(message: Any) -> str:
    match message["type"]:
        case "websocket.send":
            return (message.get("text") or "")[:64]
        case "http.response.body":
            return bytes(message.get("body", b"")[:64]).decode("latin-1")
    return ""
