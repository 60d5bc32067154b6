"""Sending and receiving without waiting, and without giving up the interpreter's lock."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from mpkernel.host.unyielding import receive_now, send_now


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_what_is_sent_is_received(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    buffer = ctypes.create_string_buffer(8)

    assert send_now(ours.fileno(), b"ten\0 bytes") == 10
    assert receive_now(theirs.fileno(), buffer) == 8
    assert buffer.raw == b"ten\0 byt"
    assert receive_now(theirs.fileno(), buffer) == 2


def test_neither_waits(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends

    assert receive_now(theirs.fileno(), ctypes.create_string_buffer(8)) == -1
    while (sent := send_now(ours.fileno(), bytes(4096))) == 4096:
        pass
    assert sent < 4096
    assert send_now(ours.fileno(), bytes(4096)) == -1


def test_the_end_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    ours.close()

    assert receive_now(theirs.fileno(), ctypes.create_string_buffer(8)) == 0
    assert send_now(theirs.fileno(), b"lost") == -1


def test_what_is_no_socket_is_left_to_the_caller() -> None:
    reader, writer = os.pipe()

    assert send_now(writer, b"x") == -1
    assert receive_now(reader, ctypes.create_string_buffer(8)) == -1
    os.close(reader)
    os.close(writer)


def test_a_thread_that_computes_does_not_get_the_lock_meanwhile(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    buffer = ctypes.create_string_buffer(8)
    rounds = [0]
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            rounds[0] += 1

    before_s = sys.getswitchinterval()
    thread = threading.Thread(target=compute)
    thread.start()
    sys.setswitchinterval(0.5)  # this thread gives the lock up by itself only
    try:
        os.sched_yield()
        before = rounds[0]
        for _ in range(5):
            assert send_now(ours.fileno(), b"x") == 1
            assert receive_now(theirs.fileno(), buffer) == 1
        after = rounds[0]
    finally:
        sys.setswitchinterval(before_s)
        over.set()
        thread.join()

    assert before == after
