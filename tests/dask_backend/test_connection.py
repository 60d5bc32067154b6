"""The connection between a server and an outpost: windows, and peers that break its rules."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE_S, until_async

from mpkernel.dask_backend.connection import FIRST_SILENCE_S, Connection
from mpkernel.dask_backend.far_process import FarProcess
from mpkernel.dask_backend.messages import (
    Alive,
    Ended,
    EndHost,
    FileRead,
    Launch,
    Launched,
    NotLaunched,
    SendFolder,
    UpNews,
    Used,
    encode_news,
)
from mpkernel.dask_backend.parts import (
    MAX_PART_BYTES,
    WINDOWS,
    Lane,
    PartDecoder,
    PartKind,
    encode_head,
)
from mpkernel.server.links.sockets import waiting_in

USED = Used(rss_bytes=1, cpu_s=0.0, host_cpu_s=0.0, threads=1, descriptors=1, processes=1)


def data_part(lane: Lane, data: bytes) -> bytes:
    return encode_head(lane, PartKind.DATA, len(data)) + data


def news(*messages: UpNews | EndHost) -> bytes:
    return b"".join(data_part(Lane.NEWS, encode_news(one)) for one in messages)


class Peer:
    """The other end of a connection: it reads and writes parts, and follows no rule.

    Attributes:
        sock: its socket.
        received: how many bytes of data came, by lane.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.received = dict.fromkeys(Lane, 0)
        self._decoder = PartDecoder()

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read_until(self, holds: Callable[[], bool]) -> None:
        """Read parts until this is true."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                count = await loop.sock_recv_into(self.sock, self._decoder.buffer)
                assert count, "the connection has ended"
                for part in self._decoder.received(count):
                    self.received[part.lane] += len(part.data)


class End:
    """A connection of which a test has the other end.

    Attributes:
        connection: the connection.
        peer: the other end.
        lost: why it has ended.
    """

    def __init__(
        self,
        silence_s: float = 60.0,
        on_news: Callable[[memoryview], None] = lambda data: None,
    ) -> None:
        ours, theirs = socket.socketpair()
        self.peer = Peer(theirs)
        self.lost: list[str] = []
        self.connection = Connection(
            ours,
            asyncio.get_running_loop(),
            silence_s=silence_s,
            on_news=on_news,
            on_lost=self.lost.append,
        )

    async def why_lost(self) -> str:
        await until_async(lambda: self.lost)
        [why] = self.lost
        return why

    def close(self) -> None:
        self.connection.close()
        self.peer.sock.close()


@pytest.fixture
async def end() -> AsyncIterator[End]:
    end = End()
    yield end
    end.close()


@pytest.fixture(autouse=True)
async def no_exceptions_in_the_loop() -> AsyncIterator[None]:
    found: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: found.append(context))
    yield
    assert not found


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reads, writes = socket.socketpair()
    for one in (reads, writes):
        one.setblocking(False)
    yield reads.fileno(), writes.fileno()
    reads.close()
    writes.close()


a_part = st.one_of(
    st.tuples(st.sampled_from(Lane), st.just(PartKind.DATA), st.binary(max_size=300)),
    st.tuples(st.sampled_from(Lane), st.just(PartKind.DATA), st.just(b"x" * MAX_PART_BYTES)),
    st.tuples(st.sampled_from(Lane), st.just(PartKind.END), st.just(0)),
    st.tuples(st.sampled_from(Lane), st.just(PartKind.PAID), st.integers(0, 2**32 - 1)),
)


@given(st.lists(a_part, max_size=12), st.randoms(use_true_random=False))
def test_parts_are_the_same_however_their_bytes_are_split(
    parts: list[tuple[Lane, PartKind, bytes | int]], turns: random.Random
) -> None:
    sent = b"".join(
        data_part(lane, what) if isinstance(what, bytes) else encode_head(lane, kind, what)
        for lane, kind, what in parts
    )
    decoder = PartDecoder()
    found: list[tuple[Lane, PartKind, bytes | int]] = []
    while sent:
        count = min(turns.choice([1, 2, 5, 300, 2**20]), len(sent), len(decoder.buffer))
        decoder.buffer[:count] = sent[:count]
        sent = sent[count:]
        found += [
            (one.lane, one.kind, bytes(one.data) if one.kind is PartKind.DATA else one.paid)
            for one in decoder.received(count)
        ]
    assert found == parts


async def test_a_sender_stops_at_the_window_until_it_is_paid(
    end: End, pipe: tuple[int, int]
) -> None:
    reads, writes = pipe
    end.connection.carry(Lane.STDERR, reads)
    peer, window = end.peer, WINDOWS[Lane.STDERR]
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=os.dup(writes)) as sock:
        sending = asyncio.create_task(loop.sock_sendall(sock, bytes(window + 1000)))
        await peer.read_until(lambda: peer.received[Lane.STDERR] == window)
        await sending
        await until_async(lambda: waiting_in(reads) == 1000)
        end.connection.tell(Alive())
        await peer.read_until(lambda: peer.received[Lane.NEWS] > 0)
        assert peer.received[Lane.STDERR] == window
        await peer.say(encode_head(Lane.STDERR, PartKind.PAID, window))
        await peer.read_until(lambda: peer.received[Lane.STDERR] == window + 1000)


async def test_a_lane_that_nobody_reads_holds_up_no_other(
    end: End, pipe: tuple[int, int], tmp_path: Path
) -> None:
    _, unread = pipe
    with (tmp_path / "taken").open("wb") as file:
        end.connection.deliver(Lane.STDOUT, unread)
        end.connection.deliver(Lane.STDERR, file.fileno())
        for lane in (Lane.STDOUT, Lane.STDERR):
            for _ in range(WINDOWS[lane] // MAX_PART_BYTES):
                await end.peer.say(data_part(lane, bytes(MAX_PART_BYTES)))
        await until_async(lambda: (tmp_path / "taken").stat().st_size == WINDOWS[Lane.STDERR])
    assert not end.lost


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param(b"\x3f\0\0\0\0", "no lane 63", id="an unknown lane"),
        pytest.param(b"\xc0\0\0\0\0", "no kind of part 0xc0", id="an unknown kind"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "there is no", id="another protocol"),
        pytest.param(
            struct.pack("!BI", Lane.STDERR, MAX_PART_BYTES + 1), "65537 bytes", id="too large"
        ),
        pytest.param(data_part(Lane.FAULTS, b"x"), "nothing is taken", id="no such sink"),
        pytest.param(data_part(Lane.FILES, b"1234x"), "nothing is taken", id="no files"),
        pytest.param(
            encode_head(Lane.FAULTS, PartKind.END, 0), "nothing is taken", id="no lane to end"
        ),
        pytest.param(
            encode_head(Lane.FAULTS, PartKind.PAID, 1), "nothing was sent", id="nothing to pay"
        ),
        pytest.param(
            encode_head(Lane.STDERR, PartKind.PAID, 1), "more was taken", id="paid too much"
        ),
        pytest.param(
            data_part(Lane.STDOUT, bytes(MAX_PART_BYTES)) * 20, "window", id="over the window"
        ),
        pytest.param(b"\0\0\0", "closed", id="half a head"),
    ],
)
async def test_a_peer_that_breaks_the_rules_is_lost(
    end: End, pipe: tuple[int, int], said: bytes, why: str
) -> None:
    reads, unread = pipe
    end.connection.carry(Lane.STDERR, reads)
    end.connection.deliver(Lane.STDOUT, unread)
    saying = asyncio.create_task(end.peer.say(said))
    if why == "closed":
        await saying
        end.peer.sock.close()
    assert why in await end.why_lost()
    await asyncio.gather(saying, return_exceptions=True)


async def test_what_goes_wrong_with_a_message_ends_the_connection() -> None:
    def fail(data: memoryview) -> None:
        raise KeyError("not thought of")

    end = End(on_news=fail)
    await end.peer.say(news(Alive()))
    assert "not thought of" in await end.why_lost()
    end.close()


async def test_a_peer_that_takes_nothing_is_lost(end: End) -> None:
    for _ in range(100_000):
        end.connection.tell(Alive())
    assert "takes nothing" in await end.why_lost()


async def test_a_shorter_silence_counts_at_once() -> None:
    end = End(silence_s=600)
    end.connection.silence_s = 0.2
    await end.peer.read_until(lambda: end.peer.received[Lane.NEWS] > 0)  # it says that it lives
    assert "nothing came" in await end.why_lost()
    end.close()


async def test_who_waits_long_for_its_peer_says_often_enough_that_it_lives() -> None:
    end = End(silence_s=3600)
    left_s = end.connection._timer.when() - asyncio.get_running_loop().time()
    assert left_s <= FIRST_SILENCE_S / 4
    end.close()


class Outpost:
    """A process whose outpost the test is.

    Attributes:
        process: the server's end.
        peer: the outpost's.
    """

    def __init__(self, *, silence_s: float = 60.0) -> None:
        self.process = FarProcess(
            Launch(name="app", app=None, env=None, silence_s=silence_s, sample_s=None),
            loop=asyncio.get_running_loop(),
            cancel=lambda: None,
        )
        ours, theirs = socket.socketpair()
        self.peer = Peer(theirs)
        pairs = [socket.socketpair() for _ in range(2)]
        self._hosts = [one[1] for one in pairs]
        self.process.claimed(ours, pairs[0][0], pairs[1][0], "tcp://worker")

    async def lost(self) -> str:
        """How the process has ended."""
        await until_async(lambda: self.process.status() is not None)
        return str(self.process.status())

    def close(self) -> None:
        self.process.close()
        self.process.close_console()
        for sock in (self.peer.sock, *self._hosts):
            sock.close()


@pytest.fixture
async def outpost() -> AsyncIterator[Outpost]:
    outpost = Outpost()
    yield outpost
    outpost.close()


LAUNCHED = news(Launched(pid=1))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param(news(Launched(pid=1), Launched(pid=1)), "Launched out of turn", id="twice"),
        pytest.param(
            news(*[NotLaunched("x" * 60_000, "")] * 50), "NotLaunched out of turn", id="refusals"
        ),
        pytest.param(
            news(NotLaunched("x", ""), Launched(pid=1)),
            "Launched out of turn",
            id="refused, launched",
        ),
        pytest.param(news(Ended(0, False)), "Ended out of turn", id="ended before launched"),
        pytest.param(news(USED), "Used out of turn", id="used before launched"),
        pytest.param(news(SendFolder()), "SendFolder out of turn", id="folder"),
        pytest.param(news(EndHost()), "cannot be understood", id="what a server says"),
        pytest.param(
            data_part(Lane.NEWS, b"\x81\xa4type\xa1\xff"), "cannot be understood", id="no UTF-8"
        ),
        pytest.param(
            data_part(Lane.NEWS, b"\x82\xa1x" + b"\x91" * 60_000), "cannot be understood", id="deep"
        ),
        pytest.param(
            data_part(Lane.NEWS, b"cos\nsystem\n(S'false'\ntR."),
            "cannot be understood",
            id="pickle",
        ),
        pytest.param(
            LAUNCHED + data_part(Lane.FILES, b"x"), "number of their", id="file, no number"
        ),
        pytest.param(LAUNCHED + data_part(Lane.NEWS, b""), "cannot be understood", id="empty"),
        pytest.param(
            LAUNCHED + data_part(Lane.STDOUT, bytes(MAX_PART_BYTES)) * 40, "window", id="window"
        ),
        pytest.param(random.Random(1).randbytes(4096), "there is no", id="random"),
    ],
)
async def test_a_hostile_outpost_loses_its_own_process(
    outpost: Outpost, said: bytes, why: str
) -> None:
    saying = asyncio.create_task(outpost.peer.say(said))
    lost = await outpost.lost()
    assert "is lost with its worker tcp://worker" in lost
    assert why in lost
    await asyncio.gather(saying, return_exceptions=True)


async def test_what_nobody_asked_for_is_not_kept(outpost: Outpost) -> None:
    unasked = (struct.pack("!I", 7) + bytes(MAX_PART_BYTES - 4), news(USED, FileRead(7, "no")))
    await outpost.peer.say(LAUNCHED)
    for _ in range(200):
        await outpost.peer.say(data_part(Lane.FILES, unasked[0]) + unasked[1])
    await outpost.peer.say(news(Ended(3, False)))
    await until_async(lambda: outpost.process.status() is not None)
    assert str(outpost.process.status()) == "left with exit code 3"
    assert outpost.process._requests is not None
    assert not outpost.process._requests._waiting


async def test_a_process_that_is_closed_before_it_was_launched_takes_no_launch(
    outpost: Outpost,
) -> None:
    outpost.process.close()
    outpost.process._on_news(memoryview(encode_news(Launched(pid=1))))
    assert outpost.process.far_pid == 1


async def test_what_was_agreed_upon_counts_only_when_the_outpost_knows_it() -> None:
    outpost = Outpost(silence_s=1.0)
    connection = outpost.process._connection
    assert connection is not None
    outpost.process._on_news(memoryview(encode_news(Alive())))
    assert connection.silence_s == FIRST_SILENCE_S
    await outpost.peer.say(LAUNCHED)
    await until_async(lambda: outpost.process.far_pid == 1)
    assert connection.silence_s == 1.0
    outpost.close()
