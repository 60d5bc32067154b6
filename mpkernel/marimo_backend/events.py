"""Pages that are connected by server-sent events.

A page on a WebSocket is pinged: one that does not read is disconnected after a while. Server-sent
events have no ping: a page that keeps its connection open and never reads would hold its kernel
back for ever. So its connection ends when it has taken nothing for some time, although there was
something to take. It may connect again, as any other page that lost its connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from starlette.requests import ClientDisconnect

from mpkernel.marimo_backend.reconnecting import session_of

__all__ = ["PageStalled", "serve_events"]

logger = logging.getLogger(__name__)

Send = Callable[[Any], Awaitable[None]]

_PART_BYTES = 128 * 1024
"""Large messages are sent in parts of this size: a page that reads slowly takes one in time."""


class PageStalled(OSError):
    """A page has taken nothing for too long. ASGI applications know an `OSError` of `send`: the
    client is gone."""


async def serve_events(
    app: Callable[..., Awaitable[None]],
    scope: Any,
    receive: Any,
    send: Send,
    *,
    stall_timeout_s: float | None,
) -> None:
    """Serve one request for server-sent events.

    Args:
        app, scope, receive, send: as ASGI has them.
        stall_timeout_s: how long the page may take nothing. None: for ever.
    """
    is_stalled = False

    async def send_in_time(message: Any) -> None:
        nonlocal is_stalled
        for part in _parts_of(message):
            try:
                async with asyncio.timeout(stall_timeout_s):
                    await send(part)
            except TimeoutError:
                is_stalled = True
                raise PageStalled from None

    try:
        await app(scope, receive, send_in_time)
    except (PageStalled, ClientDisconnect):
        if not is_stalled:
            raise
    if is_stalled:
        logger.warning(
            "a page's connection ends: it took no server-sent events for %s s session=%s",
            stall_timeout_s,
            session_of(scope),
        )
        # The server has no way to break the connection off. This waits until the page reads again,
        # and finds the end, or closes it.
        await send({"type": "http.response.body"})


def _parts_of(message: Any) -> Iterator[Any]:
    body = message.get("body", b"")
    if len(body) <= _PART_BYTES:
        yield message
        return
    for start in range(0, len(body), _PART_BYTES):
        is_last = start + _PART_BYTES >= len(body)
        yield {
            "type": "http.response.body",
            "body": body[start : start + _PART_BYTES],
            "more_body": message.get("more_body", False) if is_last else True,
        }
