"""A pair of `multiprocessing.Queue` for each host; each message carries its session's number.

A thread of the server takes from the queue and hands each message to the loop; in the host the main
thread hands commands to the kernels' queues.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import threading
from typing import Any, Self

from ..workload import work

__all__ = ["Queues"]

_CREATE = -1
_CREATED = -1

# What goes through them: a session's number, and a payload.
Item = tuple[int, bytes]


class Queues:
    """See `Peer`."""

    def __init__(self) -> None:
        self._hosts: list[QueuesHost] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for host in self._hosts:
            await host.close()

    async def open_host(self) -> QueuesHost:
        host = QueuesHost(asyncio.get_running_loop())
        self._hosts.append(host)
        return host


class QueuesHost:
    """See `Host`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        context = multiprocessing.get_context("spawn")
        self._loop = loop
        self._down: Any = context.Queue()
        self._up: Any = context.Queue()
        self._sessions: list[QueuesSession] = []
        self._created: asyncio.Queue[bytes] = asyncio.Queue()
        self._process = context.Process(target=_serve, args=(self._down, self._up), daemon=True)
        self._process.start()
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    async def open_session(self) -> QueuesSession:
        session = QueuesSession(len(self._sessions), self._down)
        self._sessions.append(session)
        self._down.put((_CREATE, b"%d" % session.number))
        await self._created.get()
        return session

    async def close(self) -> None:
        self._process.kill()
        await asyncio.to_thread(self._process.join)
        # With this end closed, nobody can write any more: the thread sees the end of the file,
        # also where the process died in the middle of a message.
        self._up._writer.close()
        await asyncio.to_thread(self._receiver.join)
        for channel in (self._down, self._up):
            channel.cancel_join_thread()
            channel.close()

    def _receive(self) -> None:
        try:
            while True:
                number, payload = self._up.get()
                consumer = self._created if number == _CREATED else self._sessions[number].messages
                self._loop.call_soon_threadsafe(consumer.put_nowait, payload)
        except (EOFError, OSError):
            return  # the host is closed


class QueuesSession:
    """See `PeerSession`."""

    def __init__(self, number: int, down: Any) -> None:
        self.number = number
        self._down = down
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.receive = self.messages.get

    def send(self, payload: bytes) -> None:
        self._down.put((self.number, payload))


def _serve(down: Any, up: Any) -> None:
    # Both processes hold both writing ends: no end of file tells that the server has ended.
    threading.Thread(target=_leave_with_the_server, daemon=True).start()
    inboxes: dict[int, queue.Queue[bytes]] = {}
    while True:
        number, payload = down.get()
        if number != _CREATE:
            inboxes[number].put(payload)
            continue
        session = int(payload)
        inbox = inboxes[session] = queue.Queue()
        threading.Thread(target=_run, args=(session, inbox, up), daemon=True).start()
        up.put((_CREATED, payload))


def _run(number: int, inbox: queue.Queue[bytes], up: Any) -> None:
    work(inbox.get, lambda payload: up.put((number, payload)))


def _leave_with_the_server() -> None:
    server = multiprocessing.parent_process()
    assert server is not None
    server.join()
    os._exit(0)
