"""What is sent to a host while answers of several of its sessions are handed over is written
together, in order, as is what several sessions are owed; what is sent alone is written at once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from halves import host_of
from server.conftest import Open
from waiting import PATIENCE_S

from mpkernel.server.hosts.credits import Credits
from mpkernel.server.links.link import LinkEvents
from mpkernel.server.links.pipe_link import PipeLink
from mpkernel.wire.frames import Channel, FrameDecoder, encode_header
from mpkernel.wire.messages import Credit


class Link:
    """A link, its host's ends of the Pipes, and clients that run after answers have come.

    Attributes:
        seen: by client, the sizes of the messages that were on the Pipe when it had run.
    """

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self._ours, self._theirs = multiprocessing.Pipe()
        self._stream, self._other = multiprocessing.Pipe()
        self._loop = asyncio.get_running_loop()
        self._clients: tuple[Callable[[], object], ...] = ()
        self._have_run = asyncio.Event()
        self.link = PipeLink(
            "app.py",
            self._ours,
            self._stream,
            self._loop,
            LinkEvents(self._wake, pytest.fail),
            backlog_bytes=1024,
            max_frame_bytes=10_000_000,
        )
        os.set_blocking(self._theirs.fileno(), False)
        self._decoder = FrameDecoder()

    async def wake_clients(self, *clients: Callable[[], object], answers: int = 2) -> None:
        """Have so many answers come, each of another session, and these clients run then."""
        self._clients = clients
        headers = [encode_header(Channel.STREAM, number + 1, 0) for number in range(answers)]
        os.write(self._other.fileno(), b"".join(headers))
        await self._have_run.wait()

    def send(self, *sizes: int) -> None:
        for size in sizes:
            self.link.send(Channel.CONTROL, 1, bytes(size))

    def written(self) -> list[int]:
        """The sizes of the messages that are on the Pipe now, whole."""
        try:
            data = os.read(self._theirs.fileno(), 1 << 24)
        except BlockingIOError:
            return []
        return [len(frame.payload) for frame in self._decoder.feed(data)]

    async def written_later(self, count: int) -> list[int]:
        """The same, as soon as there are so many."""
        sizes: list[int] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(sizes) < count:
                sizes += self.written()
                await asyncio.sleep(0)
        return sizes

    def close(self) -> None:
        self.link.close()
        for end in (self._ours, self._theirs, self._stream, self._other):
            end.close()

    def _wake(self, frames: object) -> None:
        for client in self._clients:
            self._loop.call_soon(self._run, client)
        self._loop.call_soon(self._have_run.set)

    def _run(self, client: Callable[[], object]) -> None:
        client()
        self.seen.append(self.written())


@pytest.fixture
async def link() -> Iterator[Link]:
    link = Link()
    yield link
    link.close()


async def test_messages_of_clients_that_answers_wake_are_written_together(link: Link) -> None:
    await link.wake_clients(lambda: link.send(1, 2), lambda: link.send(3))

    assert link.seen == [[], []]
    assert await link.written_later(3) == [1, 2, 3]


async def test_a_message_of_the_one_client_that_an_answer_wakes_is_written_at_once(
    link: Link,
) -> None:
    await link.wake_clients(lambda: link.send(1), answers=1)

    assert link.seen == [[1]]


async def test_what_is_sent_when_these_clients_have_run_is_written_at_once(link: Link) -> None:
    await link.wake_clients(lambda: link.send(1))
    assert await link.written_later(1) == [1]

    link.send(2)

    assert link.written() == [2]


async def test_much_is_written_before_that_and_in_order(link: Link) -> None:
    await link.wake_clients(lambda: link.send(1, 2, 2000))

    assert link.seen == [[1, 2, 2000]]


async def test_a_message_of_another_thread_follows_those_that_are_held(link: Link) -> None:
    def send() -> None:
        link.send(1, 2)
        thread = threading.Thread(target=link.send, args=(3,))
        thread.start()
        thread.join()

    await link.wake_clients(send)

    assert await link.written_later(3) == [1, 2, 3]


async def test_what_is_held_is_written_before_the_link_sends_nothing_more(link: Link) -> None:
    await link.wake_clients(lambda: (link.send(1), link.link.close_sending()))

    assert link.seen == [[1]]


async def test_held_messages_for_which_the_pipe_has_no_room_are_written_later(link: Link) -> None:
    await link.wake_clients(lambda: link.send(900, 4_000_000))

    assert link.seen == [[900]]
    assert await link.written_later(1) == [4_000_000]


async def test_what_several_sessions_are_owed_is_written_together(
    link: Link, open_kernel: Open
) -> None:
    seen: list[list[int]] = []

    def tell(number: int, _: Credit) -> None:
        link.send(number)
        seen.append(link.written())

    limits = host_of(await open_kernel("echo"))._incoming.limits
    owed = Credits(asyncio.get_running_loop(), limits, tell, link.link.hold)
    for number in (1, 2, 3):
        owed.taken(number, 1)

    assert await link.written_later(3) == [1, 2, 3]
    assert seen == [[], [], []]
