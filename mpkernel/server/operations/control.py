"""`ControlSocket`: takes operators' orders, on threads of its own.

There is a socket file that only the server's user may open, and beside it a file with a key. A
client has a few seconds for everything, may send only a bounded number of bytes, and gets one of a
bounded number of threads. So it cannot cost the server more than that, whatever it does.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path

import msgspec

from mpkernel.private_files import write_private
from mpkernel.server.operations.orders import (
    BROKEN,
    MAX_MESSAGE_BYTES,
    Reply,
    Request,
    cut_off,
    cut_off_after,
    decode_request,
)

__all__ = ["ControlSocket"]

logger = logging.getLogger(__name__)

_KEY_BYTES = 32
_MAX_CLIENTS = 4
_JOIN_S = 1.0
_RETRY_S = 0.5


class ControlSocket:
    """A socket that takes orders. It listens from its construction until `close`.

    Args:
        path: the files of the socket and of the key have this path, with the suffixes .sock and
            .key.
        answer: called with each request, on a thread. It must return within a few seconds.
        patience_s: how long a client may take, from its connection until it has read the answer.
            Default 12.

    Raises:
        OSError: nothing can listen there.
    """

    def __init__(
        self, path: Path, answer: Callable[[Request], Reply], *, patience_s: float = 12.0
    ) -> None:
        self._answer = answer
        self._patience_s = patience_s
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._key_path = path.with_suffix(".key")
        self._path = path.with_suffix(".sock")
        write_private(self._key_path, self._key)
        try:
            # Between these two lines the socket may be open to all; but others cannot enter its
            # folder.
            self._listener = Listener(str(self._path), "AF_UNIX", backlog=_MAX_CLIENTS)
            os.chmod(self._path, 0o600)
        except OSError:
            self._key_path.unlink()
            raise
        self._closed = threading.Event()
        self._lock = threading.Lock()  # guards _clients
        self._clients: dict[threading.Thread, Connection] = {}
        self._thread = threading.Thread(target=self._run, name="mpkernel-control", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._listener.close()
            self._key_path.unlink()
            raise OSError(errno.EAGAIN, str(error)) from error

    def close_soon(self) -> None:
        """Take no orders any more, without waiting. From any thread. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._wake()
        for path in (self._path, self._key_path):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Take no orders any more, disconnect the clients, and wait a moment for the threads to
        end."""
        self.close_soon()
        with self._lock:
            clients = list(self._clients)
            for connection in self._clients.values():
                cut_off(connection)
        for thread in (self._thread, *clients):
            thread.join(_JOIN_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                connection = self._listener.accept()
            except OSError as error:  # no descriptor is left, or the client has ended already
                logger.debug("an operator could not be heard: %s", error)
                self._closed.wait(_RETRY_S)
                continue
            self._accepted(connection)
        try:
            self._listener.close()
        except FileNotFoundError:  # `close` removes the socket's file
            logger.debug("the control socket was removed before path=%s", self._path)

    def _accepted(self, connection: Connection) -> None:
        thread = threading.Thread(
            target=self._serve, args=(connection,), name="mpkernel-control-client", daemon=True
        )
        with self._lock:
            if self._closed.is_set() or len(self._clients) >= _MAX_CLIENTS:
                connection.close()
                return
            self._clients[thread] = connection
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads
            logger.warning("an operator could not be heard: %s", error)
            self._forget(thread, connection)

    def _serve(self, connection: Connection) -> None:
        try:
            with cut_off_after(connection, self._patience_s):
                deliver_challenge(connection, self._key)
                answer_challenge(connection, self._key)
                request = decode_request(connection.recv_bytes(MAX_MESSAGE_BYTES))
                connection.send_bytes(msgspec.msgpack.encode(self._answer(request)))
        except BROKEN as error:
            logger.debug("a client of the control socket was cut off: %r", error)
        finally:
            self._forget(threading.current_thread(), connection)

    def _forget(self, thread: threading.Thread, connection: Connection) -> None:
        with self._lock:
            del self._clients[thread]
        connection.close()

    def _wake(self) -> None:
        """Connect to the socket: that wakes the thread that accepts connections, and it ends."""
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            try:
                client.connect(str(self._path))
            except OSError as error:  # it has others to accept, or its file is gone
                logger.debug("the control socket is not woken: %s", error)
