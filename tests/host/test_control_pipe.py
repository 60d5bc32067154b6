"""Who reads the control Pipe: the main thread, or the thread of the only kernel that is in use. The
test's own thread is the main thread here."""

from __future__ import annotations

import multiprocessing
import os
import queue
import select
import threading
from collections.abc import Iterator

import pytest
from waiting import PATIENCE_S, until

from mpkernel.host.control_pipe import ControlPipe
from mpkernel.wire.frames import Channel, Frame, Message, encode_header

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="only Linux has epoll")

MANY = 50


class Reading:
    """A control Pipe, and a kernel of session 1 that takes messages on a thread of its own."""

    def __init__(self) -> None:
        self.server, self._host = multiprocessing.Pipe(duplex=True)
        self.pipe = ControlPipe(os.dup(self._host.fileno()), None)
        self.inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.by_main: list[Frame] = []
        self.by_itself: list[bytes] = []
        self.taken: list[bytes] = []
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        while True:
            message = self.pipe.receive(1, self.inbox)
            if message is not None:
                self.by_itself.append(message.payload)
            else:
                message = self.inbox.get()
            if message is None:
                return
            self.taken.append(message.payload)

    def send(self, payload: bytes, *, session: int = 1, channel: Channel = Channel.CONTROL) -> None:
        header = encode_header(channel, session, len(payload))
        os.write(self.server.fileno(), header + payload)

    def turn(self, timeout_s: float = 10.0) -> None:
        if self.pipe.wait(timeout_s):
            self.pipe.read(self._dispatch)

    def _dispatch(self, frame: Frame) -> None:
        self.by_main.append(frame)
        if frame.session == 1 and frame.channel is not Channel.MANAGEMENT:
            self.inbox.put(Message(frame.channel, frame.payload))

    def ask(self, payload: bytes) -> None:
        """Send a message to session 1, and wait until its kernel has it."""
        count = len(self.taken)
        self.send(payload)
        while len(self.taken) == count:
            self.turn(0.001)

    def lead(self) -> None:
        """Ask until the kernel's thread reads by itself, and waits at the Pipe again."""
        while not self.by_itself:
            self.ask(b"ask")
        until(self.pipe._lock.locked)

    def close(self) -> None:
        self.inbox.put(None)
        self.server.close()
        while self._thread.is_alive():
            try:
                self.turn(0.001)
            except ConnectionError:
                self._thread.join(PATIENCE_S)
        self.pipe.forget()


@pytest.fixture
def reading() -> Iterator[Reading]:
    reading = Reading()
    yield reading
    reading.close()


def test_the_kernel_that_gets_all_messages_reads_them_itself(reading: Reading) -> None:
    reading.lead()
    by_main = len(reading.by_main)
    for number in range(MANY):
        reading.ask(b"%d" % number)
        until(reading.pipe._lock.locked)
    assert len(reading.by_main) == by_main
    assert reading.by_itself[-MANY:] == [b"%d" % number for number in range(MANY)]


def test_what_is_not_for_this_kernel_alone_is_left_to_the_main_thread_in_order(
    reading: Reading,
) -> None:
    for session, channel in ((2, Channel.CONTROL), (1, Channel.MANAGEMENT)):
        reading.lead()
        reading.by_main.clear()
        reading.by_itself.clear()
        reading.send(b"other", session=session, channel=channel)
        reading.send(b"own")
        while len(reading.by_main) < 2:
            reading.turn()
        assert [frame.payload for frame in reading.by_main] == [b"other", b"own"]
        until(lambda: reading.taken[-1] == b"own")
        assert not reading.by_itself


def test_the_end_of_the_pipe_is_left_to_the_main_thread(reading: Reading) -> None:
    reading.lead()
    reading.server.close()
    with pytest.raises(ConnectionError):
        while True:
            reading.turn()


def test_sessions_that_take_turns_are_all_served_by_the_main_thread(reading: Reading) -> None:
    for number in range(MANY):
        reading.send(b"other", session=2)
        while len(reading.by_main) < 2 * number + 1:
            reading.turn()
        reading.ask(b"own")
    assert not reading.by_itself


def test_while_the_kernel_computes_the_main_thread_reads(reading: Reading) -> None:
    reading.lead()
    reading.by_main.clear()
    reading.send(b"one")
    reading.send(b"two", channel=Channel.MANAGEMENT)
    while not reading.by_main or reading.by_main[-1].payload != b"two":
        reading.turn()
    until(lambda: reading.taken[-1] == b"one")
