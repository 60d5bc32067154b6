"""Workers of one server: claims of sessions, and requests that one hands over to another."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from mpkernel.aio.broken_answers import BrokenAnswer
from mpkernel.server.workers.claims import Claims
from mpkernel.server.workers.forwarding import Peer, PeerFailed, PeerGone, PeerLost, PeerSilent
from mpkernel.server.workers.same_server import server_name
from mpkernel.server.workers.serving import AsgiApp, Content, Receive, Scope, Send
from mpkernel.server.workers.worker import Worker

pytestmark = pytest.mark.asyncio

MOST_BYTES = 8 * 1024 * 1024
CHUNK = b"x" * 256 * 1024


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="workers-") as directory:  # by a short path
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory, "mpkernel")


@contextlib.asynccontextmanager
async def worker(app: AsgiApp, *, files: str = "", leave_s: float = 5.0) -> AsyncIterator[Worker]:
    one = Worker(
        "of-tests",
        {"/": app},
        lambda encoded: msgspec.msgpack.decode(encoded, type=dict[str, object]),
        lambda name: name == files,
        lambda session: True,
        most_bytes=MOST_BYTES,
        keep_s=60,
        leave_s=leave_s,
    )
    await one.start()
    try:
        yield one
    finally:
        await one.close()


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    return


class Browser:
    """One request: what is sent, and what has come."""

    def __init__(self, *contents: Content) -> None:
        self.got: list[Any] = []
        self.to_send: asyncio.Queue[Content] = asyncio.Queue()
        for content in contents:
            self.to_send.put_nowait(content)

    async def receive(self) -> Content:
        return await self.to_send.get()

    async def send(self, content: Content) -> None:
        self.got.append(content)

    @property
    def body(self) -> bytes:
        return b"".join(content.get("body", b"") for content in self.got)


async def serve(one: Worker, session: str, browser: Browser, kind: str = "http") -> None:
    peer = one.owner_of(session)
    assert peer is not None
    scope = msgspec.msgpack.encode({"type": kind})
    await peer.serve("/", scope, browser.receive, browser.send)


def body(part: bytes = b"", *, more: bool = False) -> Content:
    return {"type": "http.request", "body": part, "more_body": more}


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


async def test_a_session_has_one_worker_however_many_claim_it_at_once() -> None:
    async with worker(nothing) as one, worker(nothing) as two, worker(nothing) as three:
        found = await asyncio.gather(*(w.page_opens("s") for w in (one, two, three)))
        assert found.count(None) == 1


async def test_a_new_session_goes_to_the_worker_that_has_its_group() -> None:
    async with worker(nothing) as one, worker(nothing) as two:
        assert await one.page_opens("a", "group") is None
        peer = await two.page_opens("b", "group")
        assert peer is not None
        assert peer.name == one.name
        assert await one.page_opens("b", "group") is None
        assert await two.page_opens("of no group") is None
        assert await two.page_opens("of no group", "group") is None  # it is there already
        for session in "ab":
            one.page_left(session)
        assert await two.page_opens("c", "group") is not None  # the group may come back
    async with worker(nothing) as three:
        assert await three.page_opens("c", "group") is None


async def test_a_group_whose_worker_is_stopped_does_not_keep_a_page_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with worker(nothing) as one, worker(nothing) as two:
        assert await one.page_opens("a", "group") is None

        async def silent(_: Peer) -> None:
            raise PeerSilent("it is stopped")

        monkeypatch.setattr(Peer, "reach", silent)
        assert await two.page_opens("b", "group") is None
        two.page_left("b")


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


async def test_who_does_not_know_the_key_gets_nothing(runtime: Path) -> None:
    async with worker(echo), worker(nothing):
        folder = runtime / "workers-of-tests"
        modes = {path.suffix: path.stat().st_mode & 0o777 for path in folder.iterdir()}
        assert modes == {".sock": 0o600, ".key": 0o600, "": 0o700}
        assert folder.stat().st_mode & 0o777 == 0o700
        path = next(folder.glob("*.sock"))
        reader, writer = await asyncio.open_unix_connection(path)
        assert len(await reader.readexactly(32)) == 32
        writer.write(b"\0" * 64)
        assert await reader.read() == b""
        writer.close()
    assert not folder.exists()


async def test_a_virtual_file_is_found_where_it_is() -> None:
    async with worker(nothing, files="a") as one, worker(nothing) as two, worker(nothing) as three:
        found = await two.who_has_file("a")
        assert found is not None
        assert found.name == one.name
        assert await three.who_has_file("b") is None


async def test_a_worker_that_leaves_is_waited_for_and_its_browsers_connect_again() -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"

    async with worker(page) as owner, worker(nothing) as other:
        await owner.page_opens("s")
        browser = Browser({"type": "websocket.connect"})

        async def send(content: Content) -> None:
            browser.got.append(content)
            if content["type"] == "websocket.accept":
                owner.leave()
            else:  # what a web server does when it has closed a WebSocket
                browser.to_send.put_nowait({"type": "websocket.disconnect", "code": 1012})

        browser.send = send  # type: ignore[method-assign]
        await serve(other, "s", browser, "websocket")
        assert [content["type"] for content in browser.got] == [
            "websocket.accept",
            "websocket.close",
        ]
        assert browser.got[1]["code"] == 1012
        with pytest.raises(PeerGone):
            await serve(other, "s", Browser(body()))
        opening = asyncio.create_task(other.page_opens("s"))
        await asyncio.sleep(0)
        assert not opening.done()
        await owner.close()
        assert await opening is None


async def test_the_session_of_a_worker_that_does_not_end_is_taken_from_it() -> None:
    async with worker(nothing) as owner, worker(nothing, leave_s=0.2) as other:
        await owner.page_opens("s")
        owner.leave()
        assert await other.page_opens("s") is None
        await owner.close()
        async with worker(nothing) as third:
            peer = third.owner_of("s")
            assert peer is not None
            assert peer.name == other.name


FOREIGN = """
import asyncio, sys
sys.path[:0] = {path!r}
from server.test_workers import worker

async def forever(scope, receive, send):
    await receive()
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await receive()

async def main():
    async with worker(forever) as one:
        await one.page_opens("s")
        await one.page_opens("t")
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def in_another_process() -> AsyncIterator[psutil.Process]:
    """A worker that has the sessions "s" and "t"."""
    code = FOREIGN.format(path=[str(Path(__file__).parent.parent)])
    started = subprocess.Popen((sys.executable, "-c", code), stdout=subprocess.PIPE)
    try:
        assert started.stdout is not None
        assert await asyncio.to_thread(started.stdout.readline) == b"ready\n"
        yield psutil.Process(started.pid)
    finally:
        started.kill()
        await asyncio.to_thread(started.communicate)


async def test_a_killed_worker_loses_its_requests_and_its_sessions_go_to_others() -> None:
    async with in_another_process() as process, worker(nothing) as one, worker(nothing) as two:
        browser = Browser(body())
        serving = asyncio.create_task(serve(one, "s", browser))
        while not browser.got:
            await asyncio.sleep(0.01)
        process.kill()
        with pytest.raises(PeerLost):
            await serving
        with pytest.raises(PeerGone):
            await serve(one, "s", Browser(body()))
        found = await asyncio.gather(
            *(which.page_opens(session) for which in (one, two) for session in "st")
        )
        assert found.count(None) == 2


async def test_a_stopped_worker_answers_nobody_and_holds_nobody_up() -> None:
    async with in_another_process() as process, worker(nothing) as one:
        peer = one.owner_of("s")
        assert peer is not None
        peer._answer_within_s = 0.2
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(PeerSilent):
            await serve(one, "s", Browser(body()))
        with pytest.raises(PeerSilent):
            await one.page_opens("s")
        process.send_signal(signal.SIGCONT)
        assert await one.page_opens("s") is peer


async def test_what_killed_workers_left_is_removed_by_the_next(runtime: Path) -> None:
    async with in_another_process() as process:
        process.kill()
    folder = runtime / "workers-of-tests"
    assert len(list(folder.glob("*.sock"))) == 1
    Claims("another-server").socket.close()
    assert not folder.exists()


async def test_a_server_of_one_process_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.delenv("SERVER_SOFTWARE", raising=False)
        assert server_name(port) is None
        monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/23.0.0")
        name = server_name(port)
        assert name is not None
        assert name == server_name(port)
        with socket.create_server(("127.0.0.1", 0)) as other:
            assert server_name(other.getsockname()[1]) not in (None, name)
    assert server_name(port) is None
