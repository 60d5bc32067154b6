"""ZeroMQ as marimo's app host uses it: four sockets over TCP on the loopback, pickle both ways.

    loop ─send_multipart─▶ PUSH ══▶ PULL poller ─▶ session's queue.Queue ─▶ kernel thread
                                                                                  │
    loop ◀─call_soon_threadsafe─ distributor thread                          outbox queue.Queue
                                       ▲                                          ▼
          session's queue.Queue ◀─ receiver thread PULL ◀══ PUSH ◀─────────── collector thread

Sockets have their default limits, and a start waits on the loop, as marimo's does. What the host's
process does is in `zeromq_host.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from typing import Self

import zmq

from . import ROOT

__all__ = ["ZeroMQ"]

_ADDRESS = "tcp://127.0.0.1"
_TIMEOUT_MS = 30_000
_POLL_MS = 1000


class ZeroMQ:
    """See `Peer`."""

    def __init__(self) -> None:
        self._hosts: list[ZeroMQHost] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for host in self._hosts:
            await host.close()

    async def open_host(self) -> ZeroMQHost:
        host = ZeroMQHost(asyncio.get_running_loop())
        self._hosts.append(host)
        host.start()
        return host


class ZeroMQHost:
    """See `Host`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = zmq.Context()
        self._management = self._context.socket(zmq.PUSH)
        self._response = self._context.socket(zmq.PULL)
        self._command = self._context.socket(zmq.PUSH)
        self._stream = self._context.socket(zmq.PULL)
        self._closed = False
        self._lock = threading.Lock()  # guards _receivers
        self._receivers: dict[str, queue.Queue[bytes | None]] = {}
        self._distributors: list[threading.Thread] = []
        self._names = (f"session-{number}" for number in itertools.count())

    def start(self) -> None:
        """Launch the process and wait until it is ready."""
        sockets = (self._management, self._response, self._command, self._stream)
        addresses = [f"{_ADDRESS}:{socket.bind_to_random_port(_ADDRESS)}" for socket in sockets]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.zeromq_host"],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(addresses).encode() + b"\n")
        self._process.stdin.flush()
        self._expect("ready")
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def open_session(self) -> ZeroMQSession:
        name = next(self._names)
        session = ZeroMQSession(name, self._command)
        messages: queue.Queue[bytes | None] = queue.Queue()
        with self._lock:
            self._receivers[name] = messages
        distributor = threading.Thread(
            target=self._distribute, args=(messages, session.messages), daemon=True
        )
        distributor.start()
        self._distributors.append(distributor)
        self._management.send(json.dumps(name).encode())
        self._expect("created")
        return session

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        for socket in (self._management, self._response, self._command):
            socket.close(linger=0)
        # Wakes the receiver. It may be handing a message to the loop, so the loop must go on.
        await asyncio.to_thread(self._context.term)
        await asyncio.to_thread(self._receiver.join)
        with self._lock:
            for messages in self._receivers.values():
                messages.put(None)
        for distributor in self._distributors:
            await asyncio.to_thread(distributor.join)

    def _expect(self, what: str) -> None:
        if not self._response.poll(timeout=_TIMEOUT_MS):
            raise TimeoutError(f"the ZeroMQ host is not {what} after {_TIMEOUT_MS} ms")
        answer = json.loads(self._response.recv())
        assert answer == what, answer

    def _receive(self) -> None:
        with self._stream, contextlib.suppress(zmq.ContextTerminated):
            while True:
                if not self._stream.poll(timeout=_POLL_MS):
                    continue
                name, pickled = self._stream.recv_multipart()
                session_id = name.decode()
                payload = pickle.loads(pickled)
                with self._lock:
                    receiver = self._receivers.get(session_id)
                if receiver is not None:
                    receiver.put(payload)

    def _distribute(
        self, messages: queue.Queue[bytes | None], consumer: asyncio.Queue[bytes]
    ) -> None:
        while (message := messages.get()) is not None and not self._closed:
            self._loop.call_soon_threadsafe(consumer.put_nowait, message)


class ZeroMQSession:
    """See `PeerSession`."""

    def __init__(self, name: str, command: zmq.Socket[bytes]) -> None:
        self._name = name
        self._command = command
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.receive = self.messages.get

    def send(self, payload: bytes) -> None:
        self._command.send_multipart([self._name.encode(), b"control", pickle.dumps(payload)])
