"""`ConnectionDistributor`: frames of a Pipe reach every consumer, whole and in order."""

from __future__ import annotations

import asyncio
import logging
import os
import struct

import pytest
from aio.listeners import PipeEnds, Received

from mpkernel.aio import ConnectionDistributor

pytestmark = pytest.mark.usefixtures("no_task_left")


def text(frame: bytes) -> str:
    return frame.decode()


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_every_consumer_gets_every_frame_decoded_and_in_order(
    pipe: PipeEnds,
) -> None:
    reader, writer = pipe
    distributor = ConnectionDistributor(reader, text)
    one, two = Received(), Received()
    distributor.add_consumer(one)
    distributor.add_consumer(two)
    distributor.start()
    expected = [f"frame {number}" for number in range(500)]

    def send() -> None:
        for frame in expected:
            writer.send_bytes(frame.encode())

    await asyncio.to_thread(send)
    assert await one.count(500) == expected
    assert await two.count(500) == expected
    distributor.stop()


async def test_frames_sent_before_the_start_are_not_lost(pipe: PipeEnds) -> None:
    reader, writer = pipe
    writer.send_bytes(b"early")
    distributor = ConnectionDistributor(reader, text)
    received = Received()
    distributor.add_consumer(received)
    distributor.start()
    assert await received.count(1) == ["early"]
    distributor.stop()


async def test_half_a_frame_neither_blocks_the_loop_nor_is_lost(pipe: PipeEnds) -> None:
    reader, writer = pipe
    distributor = ConnectionDistributor(reader, text)
    received = Received()
    distributor.add_consumer(received)
    distributor.start()
    stream = struct.pack("!i", 4) + b"body" + struct.pack("!i", 4) + b"next"
    for byte in stream[:-1]:
        os.write(writer.fileno(), bytes([byte]))
        # Two turns of the loop: the byte is read, and the loop still turns.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert await received.count(1) == ["body"]
    os.write(writer.fileno(), stream[-1:])
    assert await received.count(2) == ["body", "next"]
    distributor.stop()


async def test_a_frame_larger_than_the_pipe_holds_arrives_whole(pipe: PipeEnds) -> None:
    reader, writer = pipe
    distributor = ConnectionDistributor(reader, bytes)
    received = Received()
    distributor.add_consumer(received)
    distributor.start()
    large = os.urandom(3 * 1024 * 1024)
    await asyncio.to_thread(writer.send_bytes, large)
    writer.send_bytes(b"small")
    assert await received.count(2) == [large, b"small"]
    distributor.stop()


async def test_a_failing_consumer_is_logged_by_name_and_harms_no_other(
    pipe: PipeEnds, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(_: str) -> None:
        raise LookupError("broken")

    def asks_a_cancelled_future(_: str) -> None:
        raise asyncio.CancelledError

    reader, writer = pipe
    distributor = ConnectionDistributor(reader, text, name="from-host")
    received = Received()
    distributor.add_consumer(breaks, name="the broken one")
    distributor.add_consumer(asks_a_cancelled_future)
    distributor.add_consumer(received)
    distributor.start()
    writer.send_bytes(b"one")
    writer.send_bytes(b"two")
    assert await received.count(2) == ["one", "two"]
    messages = [record.getMessage() for record in errors(caplog)]
    assert len(messages) == 4
    assert "consumer=the broken one distributor=from-host" in messages[0]
    assert "asks_a_cancelled_future" in messages[1]
    distributor.stop()


async def test_a_frame_that_cannot_be_decoded_is_logged_and_dropped_alone(
    pipe: PipeEnds, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = pipe
    distributor = ConnectionDistributor(reader, text)
    received = Received()
    distributor.add_consumer(received)
    distributor.start()
    for frame in (b"one", b"\xff\xff", b"two"):
        writer.send_bytes(frame)
    assert await received.count(2) == ["one", "two"]
    (record,) = errors(caplog)
    assert "frame dropped, decoding failed bytes=2" in record.getMessage()
    distributor.stop()


async def test_a_consumer_that_was_removed_gets_no_more(pipe: PipeEnds) -> None:
    reader, writer = pipe
    distributor = ConnectionDistributor(reader, text)
    stays, leaves = Received(), Received()
    remove = distributor.add_consumer(leaves)
    distributor.add_consumer(stays)
    distributor.start()
    writer.send_bytes(b"one")
    await stays.count(1)
    remove()
    remove()
    writer.send_bytes(b"two")
    assert await stays.count(2) == ["one", "two"]
    assert leaves.items == ["one"]
    distributor.stop()


async def test_the_same_function_added_twice_is_removed_once(pipe: PipeEnds) -> None:
    reader, writer = pipe
    distributor = ConnectionDistributor(reader, text)
    received = Received()
    remove = distributor.add_consumer(received)
    distributor.add_consumer(received)
    distributor.start()
    remove()
    remove()
    writer.send_bytes(b"one")
    writer.send_bytes(b"two")
    assert await received.count(2) == ["one", "two"]
    distributor.stop()


async def test_a_consumer_may_add_and_remove_consumers(pipe: PipeEnds) -> None:
    reader, writer = pipe
    distributor = ConnectionDistributor(reader, text)
    late, removed, last = Received(), Received(), Received()

    def rearrange(_: str) -> None:
        distributor.add_consumer(late)
        remove_rearrange()
        remove_removed()

    remove_rearrange = distributor.add_consumer(rearrange)
    remove_removed = distributor.add_consumer(removed)
    distributor.add_consumer(last)
    distributor.start()
    writer.send_bytes(b"one")
    writer.send_bytes(b"two")
    assert await last.count(2) == ["one", "two"]
    assert await late.count(1) == ["two"]
    assert removed.items == []
    distributor.stop()


async def test_it_starts_once(pipe: PipeEnds) -> None:
    reader, _writer = pipe
    distributor = ConnectionDistributor(reader, text, name="once")
    assert not distributor.running
    distributor.start()
    assert distributor.running
    with pytest.raises(RuntimeError, match="'once' starts once"):
        distributor.start()
    distributor.stop()
    with pytest.raises(RuntimeError, match="'once' starts once"):
        distributor.start()


async def test_a_closed_connection_is_refused_at_the_start(pipe: PipeEnds) -> None:
    reader, _writer = pipe
    reader.close()
    distributor = ConnectionDistributor(reader, text)
    with pytest.raises(OSError, match="closed"):
        distributor.start()
    assert not distributor.running
