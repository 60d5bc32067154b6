"""A tab that is connected by server-sent events, as marimo's page is with `transport = "sse"`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from urllib.parse import urlencode, urlsplit

import pytest
from e2e.harness import Tab
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

__all__ = ["EventStream", "EventsTab", "needs_server_sent_events"]

needs_server_sent_events = pytest.mark.skipif(
    importlib.util.find_spec("marimo._server.sse") is None,
    reason="older versions of marimo have no server-sent events",
)


class EventStream:
    """One connection, with as much of the surface of a WebSocket's as a `Tab` uses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.transport = writer.transport
        self.close_code: int | None = None
        self.close_reason = ""
        self._reader = reader
        self._writer = writer  # once it is collected, the connection ends
        self._received = b""

    async def recv(self) -> str:
        """The data of the next event.

        Raises:
            ConnectionClosed: the connection has ended.
        """
        while True:
            kind, data = _parsed(await self._next_event())
            if kind == "close":
                self.close_code, self.close_reason = json.loads(data).values()
                raise ConnectionClosedOK(None, None)
            if data:
                return data

    async def close(self) -> None:
        self._writer.close()

    async def _next_event(self) -> str:
        parts = [self._received]
        while b"\n\n" not in parts[-1]:
            parts.append(await self._chunk())
        event, _, self._received = b"".join(parts).partition(b"\n\n")
        return event.decode()

    async def _chunk(self) -> bytes:
        """The next chunk of the answer; the server never sends half an end of an event."""
        try:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            chunk = await self._reader.readexactly(size + 2)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise ConnectionClosedError(None, None) from None
        if not size:
            raise ConnectionClosedOK(None, None)
        return chunk[:-2]


class EventsTab(Tab):
    """A `Tab` that is connected by server-sent events."""

    async def _connect(self) -> EventStream:  # type: ignore[override]
        await self.load()
        url = urlsplit(self.url)
        query = urlencode({**self._query, "session_id": self.session_id})
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(f"GET {url.path}sse?{query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return EventStream(reader, writer)


def _parsed(event: str) -> tuple[str, str]:
    """The kind of an event ("" if it has none), and its data."""
    fields = [line.partition(": ") for line in event.split("\n")]
    kinds = [value for name, _, value in fields if name == "event"]
    return "".join(kinds), "\n".join(value for name, _, value in fields if name == "data")
