"""Workers of one server: requests that one hands over to another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server.workers_of_tests import CHUNK, Browser, body, nothing, runtime_directory, serve, worker

from mpkernel.aio.broken_answers import BrokenAnswer
from mpkernel.server.workers.forwarding import PeerFailed
from mpkernel.server.workers.serving import Content, Receive, Scope, Send
from mpkernel.server.workers.worker import Worker

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with runtime_directory(monkeypatch) as directory:
        yield directory


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what comes, while it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    more = True
    while more:
        content: Any = await receive()
        more = content["more_body"]
        await send({"type": "http.response.body", "body": content["body"], "more_body": more})


async def test_a_request_is_served_by_the_worker_that_has_its_session() -> None:
    async with worker(echo) as owner, worker(nothing) as other:
        assert await owner.page_opens("s") is None
        assert owner.owner_of("s") is None
        for _ in range(3):  # over one connection
            browser = Browser(*(body(CHUNK, more=True) for _ in range(20)), body(b"end"))
            await serve(other, "s", browser)
            assert browser.got[0]["status"] == 200
            assert browser.body == CHUNK * 20 + b"end"


async def test_a_body_that_the_application_did_not_read_is_not_taken_for_the_next_request() -> None:
    async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async with worker(at_once) as owner, worker(nothing) as other:
        await owner.page_opens("s")
        for parts in ([body(CHUNK)], [body(CHUNK, more=True)], [body(b"")]):
            browser = Browser(*parts)
            await serve(other, "s", browser)
            assert browser.body == b"no"


async def test_a_websocket_goes_both_ways_and_a_slow_browser_holds_its_application_up() -> None:
    sent = 0

    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["text"] == "go"
        for _ in range(100):
            await send({"type": "websocket.send", "bytes": CHUNK})
            sent += 1
        await send({"type": "websocket.close", "code": 1000})

    async with worker(flood) as owner, worker(nothing) as other:
        await owner.page_opens("s")
        may_go_on = asyncio.Event()

        class Slow(Browser):
            async def send(self, content: Content) -> None:
                await super().send(content)
                if content["type"] == "websocket.send":
                    await may_go_on.wait()

        browser = Slow({"type": "websocket.connect"}, {"type": "websocket.receive", "text": "go"})
        serving = asyncio.create_task(serve(other, "s", browser, "websocket"))
        before = -1
        while sent == 0 or sent != before:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 20
        may_go_on.set()
        await serving
        assert sum(len(content.get("bytes", b"")) for content in browser.got) == 100 * len(CHUNK)
        assert browser.got[-1]["code"] == 1000


async def test_the_application_learns_that_the_browser_is_gone() -> None:
    ends: list[Content] = []
    started = asyncio.Event()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        started.set()
        ends.append(await receive())

    async with worker(stream) as owner, worker(nothing) as other:
        await owner.page_opens("s")
        for kind in ("http", "websocket"):
            gone = {"type": f"{kind}.disconnect", "code": 1001}
            first = body() if kind == "http" else {"type": "websocket.connect"}
            await serve(other, "s", Browser(first, gone), kind)
            # And where the worker that the browser was connected to gives up:
            started.clear()
            serving = asyncio.create_task(serve(other, "s", Browser(first), kind))
            await started.wait()
            serving.cancel()
            while not owner_is_idle(owner):
                await asyncio.sleep(0.01)
    assert [end["type"] for end in ends] == ["http.disconnect"] * 2 + ["websocket.disconnect"] * 2


def owner_is_idle(one: Worker) -> bool:
    return not one._socket._requests


async def test_an_error_of_the_application_is_one_of_the_request() -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("no luck")

    async with worker(fails) as owner, worker(nothing) as other:
        await owner.page_opens("s")
        with pytest.raises(PeerFailed, match="no luck"):
            await serve(other, "s", Browser(body()))


async def test_an_answer_that_is_broken_off_is_logged_by_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise BrokenAnswer("the file has gone")

    async with worker(breaks_off) as owner, worker(nothing) as other:
        await owner.page_opens("s")
        browser = Browser(body())
        with pytest.raises(BrokenAnswer, match="the file has gone"):
            await serve(other, "s", browser)
        assert [content["type"] for content in browser.got] == ["http.response.start"]
    assert caplog.text == ""
