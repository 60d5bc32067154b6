"""What the middleware tells a session about its page's connection."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from mpkernel import Settings
from mpkernel.marimo_backend.entrypoint import IsolationMiddleware

SCOPES = {
    "WebSocket": {"type": "websocket", "path": "/ws", "query_string": b"session_id=s_1"},
    "server-sent events": {"type": "http", "path": "/sse", "query_string": b"session_id=s_1"},
}


class Lease:
    """A session that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.leaving = self
        self.arrivals = None
        self.shared = SimpleNamespace(hosts=SimpleNamespace(settings=Settings()))

    @asynccontextmanager
    async def connection(self) -> Any:
        yield

    def page_moved(self, session_id: str) -> None:
        self.told.append(f"moved {session_id}")

    def page_is_back(self, session_id: str) -> None:
        self.told.append(f"back {session_id}")


class Middleware(IsolationMiddleware):
    """With this lease, whatever application it serves."""

    def __init__(self, app: Any, lease: Any) -> None:
        super().__init__(app)
        self._given = lease

    def _lease_for(self, scope: Any) -> Any:
        return self._given


@pytest.mark.parametrize("transport", SCOPES)
async def test_a_session_learns_of_each_message_that_its_page_took_and_of_the_end(
    transport: str,
) -> None:
    lease = Lease()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for body in (b"1", b"2"):
            await send({"type": "http.response.body", "body": body, "more_body": True})
        lease.told.append("the application ends")
        raise ConnectionResetError

    async def send(message: Any) -> None:
        lease.told.append(f"sent {message['body'].decode()}")

    with pytest.raises(ConnectionResetError):
        await Middleware(app, lease)(SCOPES[transport], None, send)
    told = ["sent 1", "moved s_1", "sent 2", "moved s_1", "the application ends", "moved s_1"]
    assert lease.told == told
