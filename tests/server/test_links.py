"""A host that sends many small frames gets a part of the loop's time, and loses none of them."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
from waiting import PATIENCE_S

from mpkernel.aio.turns import turn_of
from mpkernel.errors import ProtocolError
from mpkernel.server.links.link import LinkEvents
from mpkernel.server.links.pipe_link import PipeLink
from mpkernel.wire.frames import Channel, Frame, encode_header

COUNT = 10_000

FLOOD = """
import os, sys, time
from mpkernel.wire.frames import Channel, encode_header
fd, count = map(int, sys.argv[1:])
try:
    for number in range(count):
        os.write(fd, encode_header(Channel.STREAM, number, 0))
        next_at = time.monotonic() + 100e-6
        while time.monotonic() < next_at:
            pass
except ConnectionError:
    pass  # the link's end is closed
"""


class Peer:
    """A host that has written frames, and a server that takes 1 ms for a hundred of them."""

    def __init__(
        self, ours: Connection, theirs: Connection, stream: Connection, other: Connection
    ) -> None:
        self.theirs = theirs
        self.stream = stream
        self.other = other
        self.frames: list[Frame] = []
        self.turns: list[int] = []  # which turn of the loop each handing over was in
        self.turn = 0
        self.errors: list[ProtocolError] = []
        self.hung_up = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.link = PipeLink(
            "app.py",
            ours,
            stream,
            self._loop,
            LinkEvents(self._take, self.errors.append, on_hang_up=self.hung_up.set),
            backlog_bytes=1024,
            max_frame_bytes=64 * 1024,
        )
        self._count_turns()

    def write(self, count: int, tail: bytes = b"") -> None:
        frames = (encode_header(Channel.STREAM, number, 0) for number in range(count))
        with open(self.theirs.fileno(), "wb", buffering=0, closefd=False) as pipe:
            pipe.write(b"".join(frames) + tail)

    def flood(self, count: int) -> subprocess.Popen[bytes]:
        """A process that writes frame after frame to the stream Pipe, each with its own call."""
        fd = self.other.fileno()
        return subprocess.Popen([sys.executable, "-c", FLOOD, str(fd), str(count)], pass_fds=[fd])

    def _take(self, frames: list[Frame]) -> None:
        self.frames += frames
        self.turns.append(self.turn)
        time.sleep(len(frames) / 100 / 1000)

    def _count_turns(self) -> None:
        self.turn += 1
        self._counting = self._loop.call_soon(self._count_turns)

    def close(self) -> None:
        self.link.close()
        self._counting.cancel()


@pytest.fixture
async def peer() -> Iterator[Peer]:
    ours, theirs = multiprocessing.Pipe()
    stream, other = multiprocessing.Pipe()
    peer = Peer(ours, theirs, stream, other)
    yield peer
    peer.close()
    for end in (ours, theirs, stream, other):
        end.close()


async def until(condition: object) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0)


async def test_frames_that_take_long_are_taken_in_many_turns_of_the_loop(peer: Peer) -> None:
    peer.write(COUNT)
    await until(lambda: len(peer.frames) == COUNT)
    assert [frame.session for frame in peer.frames] == list(range(COUNT))
    most = max(peer.turns.count(turn) for turn in set(peer.turns))
    assert most <= 20  # 128 frames each: what 5 ms have time for, and not the 80 there are
    assert len(set(peer.turns)) >= 5


async def test_what_waits_is_taken_before_the_end_of_the_pipe_is_told(peer: Peer) -> None:
    peer.write(COUNT)
    peer.theirs.close()
    await peer.hung_up.wait()
    assert len(peer.frames) == COUNT


async def test_a_fault_behind_them_is_told_after_them(peer: Peer) -> None:
    peer.write(COUNT, tail=b"\xff" * 9)
    await until(lambda: peer.errors)
    assert len(peer.frames) == COUNT


async def test_what_a_dead_host_left_is_taken_in_turns_too(peer: Peer) -> None:
    peer.write(COUNT)
    turns = 1
    while not peer.link.drain():
        turns += 1
        await asyncio.sleep(0)
    assert len(peer.frames) == COUNT
    assert turns >= 5


async def test_what_a_dead_host_left_is_taken_also_where_others_use_up_every_turn(
    peer: Peer,
) -> None:
    peer.write(COUNT)
    turn = turn_of(asyncio.get_running_loop())
    while True:
        assert turn.has_time_left()
        time.sleep(0.003)  # more than a turn
        before = len(peer.frames)
        if peer.link.drain():
            break
        assert len(peer.frames) > before
        await asyncio.sleep(0)
    assert len(peer.frames) == COUNT


async def test_nothing_is_taken_after_the_close(peer: Peer) -> None:
    peer.write(COUNT)
    await until(lambda: peer.frames)
    peer.link.close()
    taken = len(peer.frames)
    assert taken < COUNT
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert len(peer.frames) == taken


async def test_a_flood_is_read_whole_and_in_its_order(peer: Peer) -> None:
    count = 3_000
    process = peer.flood(count)
    await until(lambda: len(peer.frames) == count)
    assert process.wait(PATIENCE_S) == 0
    assert [frame.session for frame in peer.frames] == list(range(count))


async def test_a_flood_is_read_also_where_no_descriptor_is_left_for_a_timer(peer: Peer) -> None:
    count = 3_000
    process = peer.flood(count)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        await until(lambda: len(peer.frames) == count)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert process.wait(PATIENCE_S) == 0
    assert [frame.session for frame in peer.frames] == list(range(count))


async def test_a_link_that_closes_in_a_flood_takes_nothing_more_and_keeps_no_descriptor(
    peer: Peer,
) -> None:
    process = peer.flood(COUNT)
    await until(lambda: peer.frames)
    descriptors = set(os.listdir("/proc/self/fd"))
    await until(lambda: set(os.listdir("/proc/self/fd")) - descriptors)  # the timer of the pauses
    peer.link.close()
    taken = len(peer.frames)
    peer.stream.close()
    assert process.wait(PATIENCE_S) == 0
    await asyncio.sleep(0.002)  # longer than a pause
    assert len(peer.frames) == taken
    assert set(os.listdir("/proc/self/fd")) < descriptors
