"""Pages that are connected by server-sent events.

The server pings a page on a WebSocket: if it does not read, it is disconnected after a while.
Server-sent events have no ping: a page that keeps its connection open and never reads would make
its kernel wait for ever. So its connection is ended when messages waited for it and it has taken
nothing for some time. It may connect again, as any page that lost its connection.

Whatever ends the connection, marimo's stream of events must come to its own end: until then the
page counts as connected, and the kernel waits for it. The stream is a generator. If the task that
reads it is cancelled or fails between two events, nothing closes it until the garbage collector
finds it. So this task is neither cancelled nor made to fail here: when the page is gone, `receive`
says so, and `send` drops at once what is still to come.
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
_NOT_CANCELLED = "2.4"
"""From this version of ASGI on, Starlette leaves it to the application to notice that a page has
gone. With an older one it cancels the task that sends."""


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
    page = _Page(receive, send, stall_timeout_s, on_stall)
    asgi = {**scope.get("asgi", {}), "spec_version": _NOT_CANCELLED}
    await app({**scope, "asgi": asgi}, page.receive, page.send)
    if page.has_stalled:
        logger.warning(
            "a page's connection ends: it took no server-sent events for %s s session=%s",
            stall_timeout_s,
            session_of(scope),
        )
        # ASGI has no way to break off a connection. This waits until the page reads again and finds
        # the end, or closes the connection.
        await send({"type": "http.response.body"})


class _Page:
    """The connection of a page, for the application.

    Args:
        receive, send: the server's.
        stall_timeout_s, on_stall: see `serve_events`.

    Attributes:
        has_stalled: whether the page has taken nothing for too long.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        stall_timeout_s: float | None,
        on_stall: Callable[[], None],
    ) -> None:
        self._receive = receive
        self._send = send
        self._stall_timeout_s = stall_timeout_s
        self._on_stall = on_stall
        self._gone = asyncio.Event()
        self._sending: asyncio.Timeout | None = None
        self.has_stalled = False

    async def receive(self) -> Any:
        """ASGI's `receive`, which also reports a page that takes nothing as disconnected."""
        received = asyncio.ensure_future(self._receive())
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait((received, gone), return_when=asyncio.FIRST_COMPLETED)
            if not received.done():
                return {"type": "http.disconnect"}
            message = received.result()
            if message["type"] == "http.disconnect":
                self._leave()
            return message
        finally:
            received.cancel()
            gone.cancel()

    async def send(self, message: Any) -> None:
        """ASGI's `send`. What is sent to a page that is gone is dropped, as servers do it, too."""
        for part in _parts_of(message):
            if self._gone.is_set():
                return
            try:
                async with asyncio.timeout(self._stall_timeout_s) as self._sending:
                    await self._send(part)
            except TimeoutError:
                if not self._gone.is_set():
                    self.has_stalled = True
                    self._gone.set()
                    self._on_stall()
            except OSError as error:
                logger.debug("a page was gone before it was sent an event: %s", error)
                self._gone.set()
            finally:
                self._sending = None

    def _leave(self) -> None:
        """The page has disconnected: calls that wait in `send` return now."""
        self._gone.set()
        if self._sending is not None and not self._sending.expired():
            self._sending.reschedule(asyncio.get_running_loop().time())


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
