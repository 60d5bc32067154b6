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

from mpkernel.marimo_backend.server.reconnecting import session_of

__all__ = ["serve_events"]

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_PART_BYTES = 128 * 1024
"""Large messages are sent in parts of this size: a page that reads slowly takes one in time."""


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
        on_stall: called when it has taken nothing for so long. What waits for it is lost.
    """
    stalled = asyncio.Event()

    async def send_in_time(message: Any) -> None:
        for part in _parts_of(message):
            if stalled.is_set():
                return  # as servers do with what is sent to a client that is gone
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
        # The server has no way to break the connection off. This waits until the page reads again,
        # and finds the end, or closes it.
        await send({"type": "http.response.body"})


def _disconnected_by(stalled: asyncio.Event, receive: Receive) -> Receive:
    """An ASGI `receive` that says too that the client is gone once the event is set. marimo ends in
    order then; with an exception of `send` it would leave its generator to the garbage collector,
    and the page would go on to hold its kernel back until that comes."""

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
