"""What ends a `ConnectionDistributor`: the peer, a broken frame, or `stop`."""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from multiprocessing import Pipe

import pytest
from aio.listeners import PipeEnds, Received, Stopped

from mpkernel.aio import ConnectionDistributor, FrameError
from mpkernel.aio import distributors as distributors_module

pytestmark = pytest.mark.usefixtures("no_task_left")


def text(frame: bytes) -> str:
    return frame.decode()


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_the_end_of_file_stops_it_and_closes_the_descriptor(pipe: PipeEnds) -> None:
    reader, writer = pipe
    stopped, received = Stopped(), Received()
    distributor = ConnectionDistributor(reader, text, on_stop=stopped)
    distributor.add_consumer(received)
    distributor.start()
    writer.send_bytes(b"last words")
    writer.close()
    await stopped.wait()
    assert received.items == ["last words"]
    assert stopped.reasons == [None]
    assert not distributor.running
    assert reader.closed


async def test_a_reset_stops_it_like_the_end_of_file_and_loses_no_frame(
    duplex_pipe: PipeEnds, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Read in small pieces: what is left after the first must come too.
    monkeypatch.setattr(distributors_module, "_READ_BYTES", 5)
    ours, theirs = duplex_pipe
    stopped, received = Stopped(), Received()
    distributor = ConnectionDistributor(ours, text, on_stop=stopped)
    distributor.add_consumer(received)
    ours.send_bytes(b"never read by the peer")
    for frame in (b"one", b"two", b"three"):
        theirs.send_bytes(frame)
    theirs.close()
    distributor.start()
    await stopped.wait()
    assert received.items == ["one", "two", "three"]
    assert stopped.reasons == [None]
    assert errors(caplog) == []


async def test_a_peer_that_leaves_in_the_middle_of_a_frame_is_mentioned(
    pipe: PipeEnds, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = pipe
    stopped = Stopped()
    distributor = ConnectionDistributor(reader, text, name="from-host", on_stop=stopped)
    distributor.start()
    os.write(writer.fileno(), struct.pack("!i", 100) + b"not all of it")
    writer.close()
    await stopped.wait()
    assert "in the middle of a frame distributor=from-host" in caplog.text


@pytest.mark.parametrize(
    ("prefix", "complaint"),
    [
        (struct.pack("!i", -2), "length prefix -2 is negative"),
        (struct.pack("!i", 1001), "frame of 1001 bytes is above the limit of 1000 bytes"),
        (struct.pack("!iQ", -1, 2**40), f"frame of {2**40} bytes is above the limit"),
    ],
)
async def test_an_impossible_length_is_logged_and_stops_it_after_the_frames_before(
    pipe: PipeEnds, caplog: pytest.LogCaptureFixture, prefix: bytes, complaint: str
) -> None:
    reader, writer = pipe
    stopped, received = Stopped(), Received()
    distributor = ConnectionDistributor(reader, text, max_frame_bytes=1000, on_stop=stopped)
    distributor.add_consumer(received)
    distributor.start()
    os.write(writer.fileno(), struct.pack("!i", 4) + b"good" + prefix + b"rest")
    await stopped.wait()
    assert received.items == ["good"]
    (reason,) = stopped.reasons
    assert isinstance(reason, FrameError)
    assert complaint in str(reason)
    (record,) = errors(caplog)
    assert record.exc_info is not None
    assert record.exc_info[1] is reason
    assert reader.closed


async def test_a_descriptor_that_cannot_be_read_stops_it_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader, writer = Pipe(duplex=False)
    stopped = Stopped()
    distributor = ConnectionDistributor(writer, text, on_stop=stopped)
    distributor.start()
    reader.close()  # wakes the loop; reading from a writing end is then refused
    await stopped.wait()
    assert [type(reason) for reason in stopped.reasons] == [OSError]
    assert len(errors(caplog)) == 1
    assert writer.closed


async def test_stop_removes_the_reader_before_it_closes_the_descriptor(
    pipe: PipeEnds, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _writer = pipe
    steps: list[str] = []
    distributor = ConnectionDistributor(reader, text)
    distributor.start()
    watch = distributor._watch
    assert watch is not None
    close_watch, close_reader = watch.close, reader.close
    monkeypatch.setattr(watch, "close", lambda: (steps.append("reader"), close_watch()))
    monkeypatch.setattr(reader, "close", lambda: (steps.append("descriptor"), close_reader()))
    distributor.stop()
    distributor.stop()
    assert steps == ["reader", "descriptor"]


async def test_a_descriptor_number_used_anew_is_not_read_by_the_old_distributor(
    pipe: PipeEnds,
) -> None:
    reader, _writer = pipe
    number = reader.fileno()
    distributor = ConnectionDistributor(reader, text)
    old = Received()
    distributor.add_consumer(old)
    distributor.start()
    distributor.stop()
    source, sink = os.pipe()
    os.dup2(source, number)
    os.write(sink, struct.pack("!i", 3) + b"new")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert os.read(number, 100)[4:] == b"new"
    assert old.items == []
    for descriptor in {source, sink, number}:
        os.close(descriptor)


async def test_a_consumer_may_stop_the_distributor_and_gets_nothing_after(
    pipe: PipeEnds,
) -> None:
    reader, writer = pipe
    stopped, later = Stopped(), Received()
    decoded: list[bytes] = []

    def decode(frame: bytes) -> str:
        decoded.append(frame)
        return text(frame)

    distributor = ConnectionDistributor(reader, decode, on_stop=stopped)
    items: list[str] = []
    distributor.add_consumer(lambda item: (items.append(item), distributor.stop()))
    distributor.add_consumer(later)
    os.write(writer.fileno(), 3 * (struct.pack("!i", 3) + b"end"))
    distributor.start()
    await stopped.wait()
    assert items == ["end"]
    assert decoded == [b"end"]
    assert later.items == []
    assert reader.closed


async def test_a_distributor_that_never_started_closes_its_connection_too(
    pipe: PipeEnds,
) -> None:
    reader, _writer = pipe
    stopped = Stopped()
    ConnectionDistributor(reader, text, on_stop=stopped).stop()
    assert reader.closed
    assert stopped.reasons == [None]
