"""The orders that an operator can give a server, and how they are sent.

    operator                                       server
    connect to <name>.sock, 0600
                    ◀── proofs of the key ──▶               (multiprocessing's challenges)
    Restart, Drain or Stop ─────────────────▶
                    ◀──────────────── Answer

Each side sends one message in msgpack, of known types and bounded size. Neither waits for ever for
the other: after a time limit, the connection is shut down.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path
from typing import TypeAlias

import msgspec

from mpkernel.errors import MPKernelError
from mpkernel.server.links.sockets import socket_of

__all__ = [
    "BROKEN",
    "MAX_MESSAGE_BYTES",
    "Answer",
    "Drain",
    "Order",
    "Restart",
    "Stop",
    "cut_off",
    "cut_off_after",
    "decode_order",
    "give_order",
]

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024

BROKEN = (
    OSError,
    EOFError,
    AuthenticationError,
    AssertionError,
    ValueError,
    msgspec.DecodeError,
)
"""What is raised when a peer is silent, ends the connection, or sends something wrong: by
`multiprocessing.connection`, whose challenges use `assert` in Python 3.11, and by msgspec."""


class Restart(msgspec.Struct, tag="restart", frozen=True):
    """End the processes of an app; sessions that can come back do so on others.

    Attributes:
        app: absolute path of its file.
        process: the id of the only one that is meant. Default: all are.
        rolling: whether they are ended one after another, each when a fresh one is ready.
    """

    app: str
    process: int | None = None
    rolling: bool = False


class Drain(msgspec.Struct, tag="drain", frozen=True):
    """Give an app's new sessions a fresh process. Its present processes end with their last
    session.

    Attributes:
        app: absolute path of its file.
        process: the id of the only one that is meant. Default: all are.
    """

    app: str
    process: int | None = None


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Leave when the commands that run have ended."""


Order: TypeAlias = Restart | Drain | Stop


class Answer(msgspec.Struct, frozen=True):
    """What became of an order.

    Attributes:
        done: whether the order is carried out, or about to be.
        text: what happened, in a sentence.
    """

    done: bool
    text: str


def decode_order(data: bytes) -> Order:
    """An order as it was sent.

    Raises:
        msgspec.DecodeError: it is none.
    """
    order: Order = msgspec.msgpack.decode(data, type=Order)
    return order


@contextmanager
def cut_off_after(connection: Connection, patience_s: float) -> Iterator[None]:
    """In this `with`, shut a connection down after `patience_s`, even if its peer goes on slowly.
    Who reads or writes then sees the end of the connection."""
    timer = threading.Timer(patience_s, cut_off, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def cut_off(connection: Connection) -> None:
    """Shut a connection down, even while another thread reads or writes it."""
    with socket_of(connection) as same:
        try:
            same.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            logger.debug("the peer has ended the connection already: %s", error)


def give_order(order: Order, snapshot: Path, *, patience_s: float = 10.0) -> Answer:
    """Give a server an order. Returns its answer.

    Args:
        order: the order.
        snapshot: the file of the server's snapshot. Its socket and its key lie beside it.
        patience_s: how long the server may take.

    Raises:
        MPKernelError: it does not answer.
    """
    try:
        key = snapshot.with_suffix(".key").read_bytes()
        with (
            _connect(snapshot.with_suffix(".sock"), patience_s) as connection,
            cut_off_after(connection, patience_s),
        ):
            answer_challenge(connection, key)
            deliver_challenge(connection, key)
            connection.send_bytes(msgspec.msgpack.encode(order))
            return msgspec.msgpack.decode(connection.recv_bytes(MAX_MESSAGE_BYTES), type=Answer)
    except BROKEN as error:
        raise MPKernelError(
            f"the server did not answer within {patience_s:g} s: {error or type(error).__name__}",
            remedy="see with `mpkernel status` whether it is stopped, or ended meanwhile",
        ) from error


def _connect(address: Path, patience_s: float) -> Connection:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(patience_s)
        client.connect(str(address))
        client.setblocking(True)
        return Connection(client.detach())
