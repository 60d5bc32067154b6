"""`ServerOutput`: whoever writes never waits for the reader, and nothing is lost needlessly."""

from __future__ import annotations

import io
import logging
import os
import pty
import resource
import select
import socket
import sys
import termios
import threading
from collections.abc import Callable, Iterator

import pytest
from server.test_host_console import ARelay
from waiting import PATIENCE_S, until

from mpkernel.server.links.server_output import ServerOutput


class Reader:
    """The other end of an output, which reads only when it is asked to.

    Args:
        read: gives the next bytes, and waits for them.
        writes: the end that an output gets.
    """

    def __init__(self, read: Callable[[], bytes], writes: int) -> None:
        self._read = read
        self.writes = writes
        self.text = b""

    def fill(self, output: ServerOutput) -> bytes:
        """Write until text waits; give what was written."""
        said = b""
        while not output._waiting:
            said += b"filler\n"
            output.write(b"filler\n")
        return said

    def read_until(self, end: bytes) -> bytes:
        """Read until this has come; give all that came."""
        while not self.text.endswith(end):
            self.text += self._read()
        return self.text


@pytest.fixture(params=["pipe", "terminal", "socket"])
def reader(request: pytest.FixtureRequest) -> Iterator[Reader]:
    if request.param == "socket":
        near, far = socket.socketpair()
        with near, far:
            yield Reader(lambda: near.recv(65536), far.fileno())
        return
    reads, writes = os.pipe() if request.param == "pipe" else pty.openpty()
    if request.param == "terminal":
        attributes = termios.tcgetattr(writes)
        attributes[1] &= ~termios.OPOST  # a line end stays one character
        termios.tcsetattr(writes, termios.TCSANOW, attributes)
    yield Reader(lambda: os.read(reads, 65536), writes)
    os.close(reads)
    os.close(writes)


def test_what_the_reader_does_not_take_waits_and_comes_in_order(reader: Reader) -> None:
    output = ServerOutput(reader.writes)
    said = reader.fill(output)
    output.write(b"one\n")
    output.write(b"two\n")
    assert reader.read_until(b"two\n") == said + b"one\ntwo\n"
    output.wait_until_taken()
    output.write(b"three\n")
    assert reader.read_until(b"three\n").endswith(b"two\nthree\n")


def test_a_terminal_that_is_stopped_by_a_key_keeps_nobody_waiting() -> None:
    reads, writes = pty.openpty()
    output = ServerOutput(writes)
    termios.tcflow(writes, termios.TCOOFF)
    output.write(b"one\n")
    assert not select.select([reads], [], [], 0)[0]
    termios.tcflow(writes, termios.TCOON)
    assert os.read(reads, 100) == b"one\r\n"
    output.wait_until_taken()
    os.close(reads)
    os.close(writes)


def test_what_is_too_much_is_left_out_and_counted(
    reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    output = ServerOutput(reader.writes, most_waiting_bytes=100)
    reader.fill(output)
    output.write(b"kept\n")
    output.write(b"x" * 99 + b"\nleft out\n")
    with caplog.at_level(logging.WARNING):
        assert b"left out" not in reader.read_until(b"kept\n")
        until(lambda: "2 lines of the output of this server are missing" in caplog.text)


def test_a_file_is_written_where_others_append_to_it(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "log")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    output = ServerOutput(fd)
    output.write(b"one\n")
    os.truncate(path, 0)  # as programs that rotate logs do
    output.write(b"two\n")
    os.close(fd)
    with open(path, "rb") as file:
        assert file.read() == b"two\n"


def test_what_a_full_disk_does_not_take_is_counted(
    tmp_path: os.PathLike[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A bound on the size of files stands for the disk: the system refuses to write more."""
    path = os.path.join(tmp_path, "log")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    output = ServerOutput(fd)
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, bounds[1]))
    try:
        for line in (b"first\n", b"second\n", b"third\nfourth\n"):
            assert output.write(line) == len(line)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)
    with caplog.at_level(logging.WARNING):
        output.write(b"fifth\n")
        until(lambda: "3 lines of the output of this server are missing" in caplog.text)
    with open(path) as written:
        assert written.read() == "first\nfifth\n"
    until(lambda: output._thread is None)
    os.close(fd)


def test_a_reader_that_has_gone_is_an_error_until_the_server_ends() -> None:
    reads, writes = os.pipe()
    output = ServerOutput(writes)
    os.close(reads)
    with pytest.raises(BrokenPipeError):
        output.write(b"one\n")
    output.give_up(0)
    assert output.write(b"one\n") == 4
    os.close(writes)


def test_the_end_of_the_server_waits_for_nobody() -> None:
    reads, writes = os.pipe()
    output = ServerOutput(writes)
    Reader(lambda: b"", writes).fill(output)
    waiter = threading.Thread(target=output.wait_until_taken)
    waiter.start()
    output.give_up(0)
    waiter.join(PATIENCE_S)
    assert not waiter.is_alive()
    os.close(reads)  # with that, the output's thread ends
    until(lambda: not output._waiting)
    os.close(writes)


def test_of_what_apps_print_nothing_is_missing_when_the_reader_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads, writes = os.pipe()
    output = ServerOutput(writes, most_waiting_bytes=256 * 1024)
    stream = io.TextIOWrapper(io.BufferedWriter(output), line_buffering=True)
    monkeypatch.setattr(sys, "__stdout__", stream)
    relay = ARelay(forward=True)
    lines = [f"line {number:6} {'.' * 80}" for number in range(20_000)]
    printed = threading.Thread(
        target=lambda: _print("".join(f"{line}\n" for line in lines).encode(), relay.writes[0])
    )
    printed.start()
    reader = Reader(lambda: os.read(reads, 4096), writes)
    text = reader.read_until(f"[app.py] {lines[-1]}\n".encode())
    assert text.decode() == "".join(f"[app.py] {line}\n" for line in lines)
    printed.join(PATIENCE_S)
    relay.close()
    os.close(reads)
    os.close(writes)


def _print(text: bytes, fd: int) -> None:
    while text:
        text = text[os.write(fd, text) :]
