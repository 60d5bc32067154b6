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
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
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
            self._socket = self._listening()
        except OSError:
            self._key_path.unlink()
            raise
        self._closed = threading.Event()
        self._lock = threading.Lock()  # guards _clients, _socket and the files
        self._clients: dict[threading.Thread, Connection] = {}
        self._thread = threading.Thread(target=self._run, name="mpkernel-control", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._socket.close()
            self._path.unlink()
            self._key_path.unlink()
            raise OSError(errno.EAGAIN, str(error)) from error

    def close_soon(self) -> None:
        """Take no orders any more, without waiting. From any thread. Idempotent."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            _wake(self._socket, self._path)
            for path in (self._path, self._key_path):
                path.unlink(missing_ok=True)

    def restore(self) -> None:
        """Make the files anew if they are gone: a server may run for longer than those who clean
        up temporary files leave what lies there. From any thread.

        Raises:
            OSError: they cannot be made.
        """
        with self._lock:
            if self._closed.is_set():
                return
            if not self._key_path.exists():
                write_private(self._key_path, self._key)
            if not self._path.exists():
                replaced, self._socket = self._socket, self._listening()
                _wake(replaced, self._path)

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
        listening = self._socket
        while not self._closed.is_set():
            if listening is not self._socket:  # its file was removed
                listening.close()
                listening = self._socket
            try:
                client, _ = listening.accept()
            except OSError as error:  # no descriptor is left, or the client has ended already
                if listening is self._socket:
                    logger.debug("an operator could not be heard: %s", error)
                    self._closed.wait(_RETRY_S)
                continue
            client.setblocking(True)  # whatever the program's default time-out is
            self._accepted(Connection(client.detach()))
        for one in {listening, self._socket}:
            one.close()

    def _listening(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.setblocking(True)
            # Between these two lines the socket may be open to all; but others cannot enter its
            # folder.
            listening.bind(str(self._path))
            os.chmod(self._path, 0o600)
            listening.listen(_MAX_CLIENTS)
        except BaseException:
            listening.close()
            raise
        return listening

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


def _wake(listening: socket.socket, path: Path) -> None:
    """Wake the thread that accepts connections at this socket, whose file may be gone. Where a
    socket that listens cannot be shut down (other systems than Linux), a connection wakes it."""
    try:
        listening.shutdown(socket.SHUT_RDWR)
        return
    except OSError as error:
        logger.debug("the control socket is not shut down: %s", error)
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except OSError as error:  # it has others to accept, or its file is gone
            logger.debug("the control socket is not woken: %s", error)
