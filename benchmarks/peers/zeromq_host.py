"""The process of a ZeroMQ host: a poller, a thread for each kernel, a collector of what they send.

Run as a program by `zeromq.py`, which writes the sockets' addresses to its standard input.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import sys
import threading

import zmq

from ..workload import work

__all__ = ["main"]

Outbox = queue.Queue[tuple[str, bytes]]


def main() -> None:
    """Serve until standard input ends."""
    management_at, response_at, command_at, stream_at = json.loads(sys.stdin.readline())
    threading.Thread(target=_leave_with_the_server, daemon=True).start()
    context = zmq.Context()
    management, command = context.socket(zmq.PULL), context.socket(zmq.PULL)
    response, stream = context.socket(zmq.PUSH), context.socket(zmq.PUSH)
    management.connect(management_at)
    command.connect(command_at)
    response.connect(response_at)
    stream.connect(stream_at)
    outbox: Outbox = queue.Queue()
    threading.Thread(target=_collect, args=(outbox, stream), daemon=True).start()
    response.send(json.dumps("ready").encode())

    inboxes: dict[str, queue.Queue[bytes]] = {}
    poller = zmq.Poller()
    poller.register(management, zmq.POLLIN)
    poller.register(command, zmq.POLLIN)
    while True:
        events = dict(poller.poll())
        if command in events:
            name, _, pickled = command.recv_multipart()
            inboxes[name.decode()].put(pickle.loads(pickled))
        if management in events:
            session_id = json.loads(management.recv())
            inbox = inboxes[session_id] = queue.Queue()
            threading.Thread(target=_run, args=(session_id, inbox, outbox), daemon=True).start()
            response.send(json.dumps("created").encode())


def _run(session_id: str, inbox: queue.Queue[bytes], outbox: Outbox) -> None:
    work(inbox.get, lambda payload: outbox.put((session_id, payload)))


def _collect(outbox: Outbox, stream: zmq.Socket[bytes]) -> None:
    while True:
        session_id, payload = outbox.get()
        stream.send_multipart([session_id.encode(), pickle.dumps(payload)])


def _leave_with_the_server() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
