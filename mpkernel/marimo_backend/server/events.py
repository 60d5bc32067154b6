"""Pages that are connected by server-sent events.

The server pings a page on a WebSocket: if it does not read, it is disconnected after a while.
Server-sent events have no ping: a page that keeps its connection open and never reads would make
its kernel wait for ever. So its connection is ended when messages waited for it and it has taken
nothing for some time. It may connect again, as any page that lost its connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from mpkernel.marimo_backend.server.reconnecting import session_of

__all__ = ["serve_events"]

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_PART_BYTES = 128 * 1024
"""Large messages are sent in parts of this size, so that a page that reads slowly takes each part
in time."""


async def serve_events(
    app: Callable[..., Awaitable[None]],
    scope: Any,
    receive: Receive,
    send: Send,
    *,
    stall_timeout_s: float | None,
    on_stall: Callable[[], None],
) -> None:
    """Serve one request for server-sent events.

    Args:
        app, scope, receive, send: as ASGI has them.
        stall_timeout_s: how long the page may take nothing. None: for ever.
        on_stall: called when the page has taken nothing for so long. Messages that wait for it are
            lost.
    """
    stalled = asyncio.Event()

    async def send_in_time(message: Any) -> None:
        for part in _parts_of(message):
            if stalled.is_set():
                return  # servers, too, drop what is sent to a client that is gone
            try:
                async with asyncio.timeout(stall_timeout_s):
                    await send(part)
            except TimeoutError:
                stalled.set()
                on_stall()

    await app(scope, _disconnected_by(stalled, receive), send_in_time)
    if stalled.is_set():
        logger.warning(
            "a page's connection ends: it took no server-sent events for %s s session=%s",
            stall_timeout_s,
            session_of(scope),
        )
        # ASGI has no way to break off a connection. This waits until the page reads again and finds
        # the end, or closes the connection.
        await send({"type": "http.response.body"})


def _disconnected_by(stalled: asyncio.Event, receive: Receive) -> Receive:
    """An ASGI `receive` that also reports a disconnected client when the event is set. Then marimo
    ends in order. With an exception of `send` it would leave its generator to the garbage
    collector, and until that runs, the kernel would go on waiting for the page."""

    async def receive_message() -> Any:
        received = asyncio.ensure_future(receive())
        gone = asyncio.ensure_future(stalled.wait())
        try:
            await asyncio.wait((received, gone), return_when=asyncio.FIRST_COMPLETED)
            if received.done():
                return received.result()
            return {"type": "http.disconnect"}
        finally:
            received.cancel()
            gone.cancel()

    return receive_message


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
