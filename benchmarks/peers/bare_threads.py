"""What the same processes, threads and system calls cost with nothing around them: the floor of a
server that has one loop, and of hosts that have a thread for each session.

    loop ─send─▶ socket ══▶ main thread ─▶ session's SimpleQueue ─▶ kernel thread
    loop ◀─────────── reader ◀══ socket ◀───────────────────sendmsg───────┘

A frame is the session's number, the payload's length, and the payload. There are no limits, no
windows, no flow control: a write that the socket does not take blocks, and nothing is recovered.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import socket
import struct
import threading
from collections import deque
from typing import Self

from ..workload import work

__all__ = ["BareThreads", "BareThreadsOnEight"]

_HEADER = struct.Struct("!II")
_BUFFER_BYTES = 1 << 20
_CREATE = 0xFFFFFFFF


class BareThreads:
    """See `Peer`.

    Args:
        processes: over how many processes the sessions of a host are spread.
    """

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._hosts: list[BareHost] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for host in self._hosts:
            await host.close()

    async def open_host(self) -> BareHost:
        host = BareHost(self._processes)
        self._hosts.append(host)
        for _ in range(self._processes):
            await host.open_session()
        return host


class BareThreadsOnEight(BareThreads):
    """Each host is spread over eight processes, each of which has a session at once."""

    def __init__(self) -> None:
        super().__init__(8)


class BareHost:
    """See `Host`."""

    def __init__(self, processes: int) -> None:
        self._children = [_Child() for _ in range(processes)]
        self._sessions = 0

    @property
    def pid(self) -> int:
        return self._children[0].pid

    async def open_session(self) -> BareSession:
        child = self._children[self._sessions % len(self._children)]
        self._sessions += 1
        return await child.open_session()

    async def close(self) -> None:
        for child in self._children:
            child.close()


class _Child:
    """One process, with the server's end of its socket."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._socket, theirs = socket.socketpair()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)
        self._sessions: list[BareSession] = []
        self._unread = b""

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    async def open_session(self) -> BareSession:
        session = BareSession(len(self._sessions), self._socket)
        self._sessions.append(session)
        self._socket.sendall(_HEADER.pack(_CREATE, 0))
        session.send(b"echo")
        await session.receive()
        return session

    def close(self) -> None:
        if self._socket.fileno() != -1:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._process.kill()
            self._process.join()

    def _read(self) -> None:
        data = self._unread + self._socket.recv(_BUFFER_BYTES)
        begin = 0
        while len(data) - begin >= _HEADER.size:
            number, length = _HEADER.unpack_from(data, begin)
            end = begin + _HEADER.size + length
            if end > len(data):
                break
            self._sessions[number].put(data[begin + _HEADER.size : end])
            begin = end
        self._unread = data[begin:]


class BareSession:
    """See `PeerSession`."""

    def __init__(self, number: int, pipe: socket.socket) -> None:
        self._number = number
        self._socket = pipe
        self._messages: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def send(self, payload: bytes) -> None:
        self._socket.sendall(_HEADER.pack(self._number, len(payload)) + payload)

    def put(self, payload: bytes) -> None:
        """A message has come."""
        self._messages.append(payload)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> bytes:
        while not self._messages:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._messages.popleft()


def _serve(pipe: socket.socket) -> None:
    inboxes: list[queue.SimpleQueue[bytes]] = []
    sending = threading.Lock()
    stream = pipe.makefile("rb")
    while header := stream.read(_HEADER.size):
        number, length = _HEADER.unpack(header)
        if number == _CREATE:
            inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
            arguments = (pipe, sending, len(inboxes), inbox)
            inboxes.append(inbox)
            threading.Thread(target=_run, args=arguments, daemon=True).start()
        else:
            inboxes[number].put(stream.read(length))
    os._exit(0)


def _run(
    pipe: socket.socket, sending: threading.Lock, number: int, inbox: queue.SimpleQueue[bytes]
) -> None:
    def send(payload: bytes) -> None:
        parts = [memoryview(_HEADER.pack(number, len(payload))), memoryview(payload)]
        with sending:
            while parts:
                sent = pipe.sendmsg(parts)
                while parts and sent >= len(parts[0]):
                    sent -= len(parts.pop(0))
                if parts:
                    parts[0] = parts[0][sent:]

    work(inbox.get, send)
