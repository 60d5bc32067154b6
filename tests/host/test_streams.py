"""The stream writer, on real Pipes, under what threads and signals do to it."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, cast

import pytest
from waiting import PATIENCE_S

from mpkernel.errors import ProtocolError
from mpkernel.host.streams import StreamWriter
from mpkernel.wire.frames import Channel, Frame, FrameDecoder
from mpkernel.wire.messages import FileRemoved, decode_up

MAX_FRAME_BYTES = 1 << 24
MEBI = 1024 * 1024


@pytest.fixture
def pipe() -> Iterator[tuple[Connection, Connection]]:
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        yield reader, writer


def read_frames(reader: Connection, begun: bytes = b"") -> list[Frame]:
    """All frames until the writing end is closed, after the bytes that were read already."""
    decoder, frames = FrameDecoder(), []
    decoder.feed(begun)
    while data := os.read(reader.fileno(), 65536):
        frames += decoder.feed(data)
    decoder.finish()
    return frames


class Stuck:
    """A thread that is inside `write` with a large frame, for the Pipe is full.

    Attributes:
        frame: what it writes.
        begun: what was read of it.
    """

    def __init__(self, writer: StreamWriter, reader: Connection) -> None:
        self.frame = Frame(Channel.STREAM, 1, bytes(1 << 20))
        self._thread = threading.Thread(
            target=writer.write, args=(self.frame.channel, 1, self.frame.payload)
        )
        self._thread.start()
        self.begun = os.read(reader.fileno(), 1)

    def is_stuck(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()


class Reading:
    """Reads on a thread of its own."""

    def __init__(self, reader: Connection, begun: bytes = b"") -> None:
        self.frames: list[Frame] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(reader, begun))
        self._thread.start()

    def _run(self, reader: Connection, begun: bytes) -> None:
        try:
            self.frames = read_frames(reader, begun)
        except ProtocolError as error:
            self.error = error

    def result(self) -> list[Frame]:
        self._thread.join(PATIENCE_S)
        if self.error is not None:
            raise self.error
        return self.frames


def test_frames_of_many_threads_arrive_whole_and_each_threads_in_order(
    pipe: tuple[Connection, Connection],
) -> None:
    reader, end = pipe
    writer = StreamWriter(end.fileno(), max_frame_bytes=MAX_FRAME_BYTES)
    reading = Reading(reader)

    def write(session: int) -> None:
        for number in range(300):
            payload = number.to_bytes(4, "big") + bytes([session]) * (number * 97 % 70_000)
            writer.write(Channel.STREAM, session, payload)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end.close()
    frames = reading.result()
    assert len(frames) == 1800
    for session in range(6):
        numbers = [int.from_bytes(f.payload[:4], "big") for f in frames if f.session == session]
        assert numbers == list(range(300))
    for frame in frames:
        assert frame.payload[4:] == bytes([frame.session]) * len(frame.payload[4:])


class Interrupted(Exception):
    """An exception that is raised in a thread by another thread, as user code may do it: no shield
    of mpkernel's holds it back."""


@pytest.fixture
def untraced() -> Iterator[None]:
    """No trace function, as `--cov` sets one. On CPython 3.11 a traced thread enters no function
    while an asynchronous exception waits for another thread, and the other may wait for a lock
    that the traced one holds."""
    trace, threads_trace = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(cast(Any, None))
    yield
    threading.settrace(cast(Any, threads_trace))
    sys.settrace(trace)


@pytest.mark.usefixtures("untraced")
def test_asynchronous_exceptions_tear_no_frame_and_leave_no_lock(
    pipe: tuple[Connection, Connection],
) -> None:
    reader, end = pipe
    writer = StreamWriter(end.fileno(), max_frame_bytes=MAX_FRAME_BYTES)
    reading = Reading(reader)
    stop = threading.Event()
    struck = [threading.Semaphore(0), threading.Semaphore(0)]

    def write(session: int) -> None:
        number = 0
        while not stop.is_set():
            try:
                while not stop.is_set():
                    writer.write(Channel.STREAM, session, b"x" * (number % 5000))
                    number += 1
            except Interrupted:
                struck[session].release()

    threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(500):
        for thread in threads:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupted)
            )
        for session in range(2):  # each before the next, so that none is on its way at the end
            assert struck[session].acquire(timeout=20), "a writer hangs"
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a writer waits for a lock that nobody holds"
    end.close()
    assert all(set(frame.payload) <= {ord("x")} for frame in reading.result())


def test_a_frame_over_the_limit_is_refused_and_nothing_of_it_is_written(
    pipe: tuple[Connection, Connection],
) -> None:
    reader, end = pipe
    writer = StreamWriter(end.fileno(), max_frame_bytes=100)
    with pytest.raises(ProtocolError):
        writer.write(Channel.STREAM, 1, bytes(200))
    writer.write(Channel.STREAM, 1, b"fits")
    end.close()
    assert read_frames(reader) == [Frame(Channel.STREAM, 1, b"fits")]


def test_what_is_posted_goes_before_the_next_frame_of_any_thread(
    pipe: tuple[Connection, Connection],
) -> None:
    reader, end = pipe
    writer = StreamWriter(end.fileno(), max_frame_bytes=MAX_FRAME_BYTES)
    keys = [str(number) for number in range(700)]  # more than one system call takes
    for key in keys:
        writer.post(FileRemoved(key), session=7)
    thread = threading.Thread(target=writer.write, args=(Channel.STREAM, 1, b"output"))
    reading = Reading(reader)
    thread.start()
    thread.join(PATIENCE_S)
    writer.post(FileRemoved("last"))
    writer.flush()
    end.close()
    frames = reading.result()
    removed = [decode_up(f.payload) for f in frames if f.channel is Channel.MANAGEMENT]
    assert removed == [FileRemoved(key) for key in (*keys, "last")]
    assert frames.index(Frame(Channel.STREAM, 1, b"output")) == len(keys)


def test_posting_never_waits_for_a_reader_that_is_behind(
    pipe: tuple[Connection, Connection],
) -> None:
    _reader, end = pipe
    os.set_blocking(end.fileno(), False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(end.fileno(), bytes(4096))
    os.set_blocking(end.fileno(), True)
    writer = StreamWriter(end.fileno(), max_frame_bytes=MAX_FRAME_BYTES)
    writer.post(FileRemoved("a"))


def test_a_thread_leaves_its_frame_to_the_one_that_is_writing(
    pipe: tuple[Connection, Connection],
) -> None:
    reader, end = pipe
    writer = StreamWriter(end.fileno(), max_frame_bytes=MAX_FRAME_BYTES)
    flood = Stuck(writer, reader)
    small = [Frame(Channel.STREAM, 2, b"%d" % number) for number in range(50)]
    for frame in small:
        writer.write(frame.channel, frame.session, frame.payload)
    assert flood.is_stuck()
    reading = Reading(reader, flood.begun)
    flood.join()
    end.close()
    assert reading.result() == [flood.frame, *small]


def test_no_thread_is_left_with_the_frames_of_all_others(
    pipe: tuple[Connection, Connection],
) -> None:
    reader, end = pipe
    writer = StreamWriter(end.fileno(), max_frame_bytes=MAX_FRAME_BYTES)
    one = Stuck(writer, reader)
    left = threading.Semaphore(0)

    def flood() -> None:
        for number in range(200):
            writer.write(Channel.STREAM, 2, b"%d" % number)
            left.release()

    other = threading.Thread(target=flood)
    other.start()
    assert left.acquire(timeout=60)
    other.join(0.5)
    assert other.is_alive(), "it waits for its turn, with some frames left to the other thread"
    reading = Reading(reader, one.begun)
    one.join()
    other.join()
    end.close()
    assert len(reading.result()) == 201


def test_what_is_settled_is_on_the_pipe(pipe: tuple[Connection, Connection]) -> None:
    reader, end = pipe
    writer = StreamWriter(end.fileno(), max_frame_bytes=MAX_FRAME_BYTES)
    flood = Stuck(writer, reader)

    def write() -> None:
        writer.write(Channel.STREAM, 2, b"left to the other thread")
        writer.settle()
        end.close()  # what is not there by now never comes

    other = threading.Thread(target=write)
    other.start()
    other.join(0.5)
    assert other.is_alive(), "its frame is not on the Pipe yet"
    reading = Reading(reader, flood.begun)
    other.join()
    flood.join()
    assert reading.result() == [flood.frame, Frame(Channel.STREAM, 2, b"left to the other thread")]


def test_a_forgotten_writer_writes_nothing(pipe: tuple[Connection, Connection]) -> None:
    reader, end = pipe
    writer = StreamWriter(end.fileno(), max_frame_bytes=MAX_FRAME_BYTES)
    writer.post(FileRemoved("a"))
    writer.forget()
    writer.post(FileRemoved("b"))
    writer.write(Channel.STREAM, 1, b"from a fork")
    end.close()
    assert read_frames(reader) == []


def test_a_write_to_a_reader_that_is_gone_says_so(pipe: tuple[Connection, Connection]) -> None:
    reader, end = pipe
    reader.close()
    writer = StreamWriter(end.fileno(), max_frame_bytes=MAX_FRAME_BYTES)
    with pytest.raises(BrokenPipeError):
        writer.write(Channel.STREAM, 1, b"x")
