"""Server-sent events to a page that reads, reads slowly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from starlette.responses import StreamingResponse
from waiting import PATIENCE_S

from mpkernel.marimo_backend.server.events import serve_events

SCOPE = {"type": "http", "path": "/sse", "query_string": b"session_id=s_1"}
EVENT = b"x" * 1_000_000
Send = Callable[[Any], Awaitable[None]]


class Page:
    """A page that takes what it is sent while `reads` is set."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.body = b""
        self.largest = 0
        self.is_complete = False

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        body = message.get("body", b"")
        self.body += body
        self.largest = max(self.largest, len(body))
        self.is_complete = not message.get("more_body", False)


def never() -> None:
    raise AssertionError("no page has stalled")


def sending(*messages: Any) -> Callable[..., Awaitable[None]]:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


@pytest.mark.parametrize("is_last", [True, False])
async def test_a_large_event_goes_in_parts_and_whole(is_last: bool) -> None:
    page = Page()
    page.reads.set()
    app = sending(part(EVENT, more=not is_last))
    await serve_events(
        app, SCOPE, asyncio.Event().wait, page.send, stall_timeout_s=60, on_stall=never
    )
    assert page.body == EVENT
    assert page.largest < len(EVENT)
    assert page.is_complete == is_last


async def test_a_page_that_takes_nothing_is_gone_for_the_application_and_finds_the_end() -> None:
    page = Page()
    told, stalls = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(part(EVENT, more=True))
        assert await receive() == {"type": "http.disconnect"}
        told.set()
        await send(part(b"in vain", more=False))

    serving = asyncio.create_task(
        serve_events(
            app, SCOPE, asyncio.Event().wait, page.send, stall_timeout_s=0.01, on_stall=stalls.set
        )
    )
    await asyncio.wait_for(told.wait(), PATIENCE_S)
    page.reads.set()
    await asyncio.wait_for(serving, PATIENCE_S)
    assert stalls.is_set()
    assert page.is_complete
    assert page.body == b""


async def test_an_error_of_the_application_is_no_page_s() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        raise ConnectionResetError("somebody else's")

    with pytest.raises(ConnectionResetError, match="somebody else's"):
        await serve_events(
            app, SCOPE, asyncio.Event().wait, Page().send, stall_timeout_s=60, on_stall=never
        )


@pytest.mark.parametrize("ends_with", ["a disconnection", "an error"])
async def test_the_stream_of_a_page_that_leaves_while_it_takes_nothing_comes_to_its_end(
    ends_with: str,
) -> None:
    """marimo's stream, in Starlette's response, waits for the next event, or that the page goes."""
    page = Page()
    events: asyncio.Queue[str] = asyncio.Queue()
    left, is_sending, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stream(receive: Any) -> AsyncIterator[str]:
        async def wait_until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                continue
            events.put_nowait("")

        watching = asyncio.create_task(wait_until_gone())
        try:
            while event := await events.get():
                yield event
        finally:
            watching.cancel()
            ended.set()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await StreamingResponse(stream(receive))(scope, receive, send)

    async def receive() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            is_sending.set()
            if ends_with == "an error":
                raise ConnectionResetError("the page is gone")
            await page.send(message)

    events.put_nowait("one")
    events.put_nowait("two")
    scope = {**SCOPE, "asgi": {"spec_version": "2.3"}}
    async with asyncio.timeout(PATIENCE_S):
        serving = asyncio.create_task(
            serve_events(app, scope, receive, send, stall_timeout_s=None, on_stall=never)
        )
        await is_sending.wait()
        left.set()
        await serving
    assert ended.is_set()
