"""Workers of one server: which has a session, and what becomes of those of workers that leave."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from server.workers_of_tests import (
    Browser,
    body,
    in_another_process,
    nothing,
    runtime_directory,
    serve,
    worker,
)

from mpkernel.server.workers.claims import Claims
from mpkernel.server.workers.forwarding import Peer, PeerGone, PeerLost, PeerSilent
from mpkernel.server.workers.same_server import server_name
from mpkernel.server.workers.serving import Content, Receive, Scope, Send

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with runtime_directory(monkeypatch) as directory:
        yield directory


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answered"})


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


async def test_who_does_not_know_the_key_gets_nothing(runtime: Path) -> None:
    async with worker(nothing), worker(nothing):
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


async def test_a_fork_of_a_killed_worker_keeps_none_of_its_sessions_and_requests() -> None:
    async with in_another_process() as process, worker(nothing) as one:
        browser = Browser(body())
        serving = asyncio.create_task(serve(one, "s", browser))
        while not browser.got:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGUSR1)  # it forks
        while not process.children():
            await asyncio.sleep(0.01)
        process.kill()
        await asyncio.to_thread(psutil.wait_procs, [process])
        with pytest.raises(PeerLost):
            await serving
        assert await one.page_opens("s") is None


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


@pytest.mark.parametrize("what", ["", "workers-of-tests", "workers-of-tests/claims"])
async def test_workers_find_each_other_again_when_their_directory_was_removed(
    runtime: Path, what: str
) -> None:
    async with worker(answering) as one, worker(answering) as two:
        assert await one.page_opens("a") is None
        assert await two.page_opens("b") is None
        shutil.rmtree(runtime / what)
        peer = await two.page_opens("a")  # at once: nobody has noticed yet
        assert peer is not None
        assert peer.name == one.name
        assert (await one.page_opens("b")) is not None
        browser = Browser(body())
        await serve(two, "a", browser)
        assert browser.body == b"answered"
        assert await one.page_opens("c") is None
        assert await two.page_opens("c") is not None
    assert not (runtime / "workers-of-tests").exists()
