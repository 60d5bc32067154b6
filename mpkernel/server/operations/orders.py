"""The orders that an operator can give a server, and how they are sent.

    operator                                       server
    connect to <name>.sock, 0600
                    ◀── proofs of the key ──▶               (multiprocessing's challenges)
    an Order ───────────────────────────────▶
                    ◀──────────────── Answer
    or ReadHistory ─────────────────────────▶
                    ◀─────────── HistoryPart

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
from typing import TypeAlias, TypeVar

import msgspec

from mpkernel.errors import MPKernelError
from mpkernel.private_files import read_bounded
from mpkernel.server.links.sockets import socket_of
from mpkernel.server.operations.history import HistoryPart
from mpkernel.wire.for_people import ForPeople
from mpkernel.wire.messages import UNDECODABLE

__all__ = [
    "BROKEN",
    "MAX_MESSAGE_BYTES",
    "Answer",
    "Drain",
    "Forget",
    "Order",
    "ReadHistory",
    "Reply",
    "Request",
    "Restart",
    "Stop",
    "cut_off",
    "cut_off_after",
    "decode_request",
    "give_order",
    "read_history",
]

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024
_MAX_HISTORY_BYTES = 32 * 1024 * 1024
_MAX_KEY_BYTES = 1024

_T = TypeVar("_T")

BROKEN = (
    OSError,
    EOFError,
    AuthenticationError,
    AssertionError,
    ValueError,
    *UNDECODABLE,
)
"""What is raised when a peer is silent, ends the connection, or sends something wrong: by
`multiprocessing.connection`, whose challenges use `assert` in Python 3.11, and by msgspec."""


class Restart(msgspec.Struct, tag="restart", frozen=True):
    """End the processes of an app; sessions that can come back do so on others.

    Attributes:
        app: absolute path of its file.
        process: the id of the only one that is meant. Default: all are.
        rolling: whether they are ended one after another, each when a fresh one is ready.
        who: who gives the order, for the server's log; "" if that is unknown.
    """

    app: str
    process: int | None = None
    rolling: bool = False
    who: str = ""

    def __str__(self) -> str:
        how = "rolling restart" if self.rolling else "restart"
        return f"{how} of {_what(self.app, self.process)}"


class Drain(msgspec.Struct, tag="drain", frozen=True):
    """Give an app's new sessions a fresh process. Its present processes end with their last
    session.

    Attributes:
        app: absolute path of its file.
        process: the id of the only one that is meant. Default: all are.
        who: see `Restart`.
    """

    app: str
    process: int | None = None
    who: str = ""

    def __str__(self) -> str:
        return f"drain of {_what(self.app, self.process)}"


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Leave when the commands that run have ended.

    Attributes:
        who: see `Restart`.
    """

    who: str = ""

    def __str__(self) -> str:
        return "stop of the server"


class Forget(msgspec.Struct, tag="forget", frozen=True):
    """Remove what is stored of an app's sessions that do not live: they cannot come back.

    Attributes:
        app: absolute path of its file.
        who: see `Restart`.
    """

    app: str
    who: str = ""

    def __str__(self) -> str:
        return f"forget of stored sessions of {self.app}"


class ReadHistory(msgspec.Struct, tag="history", frozen=True):
    """Tell what was used over the last hour.

    Attributes:
        since: the number of the first step to tell of; see `history`.
    """

    since: int = 0


Order: TypeAlias = Restart | Drain | Stop | Forget
Request: TypeAlias = Order | ReadHistory
Reply: TypeAlias = "Answer | HistoryPart"


def _what(app: str, process: int | None) -> str:
    return app if process is None else f"process {process} of {app}"


class Answer(ForPeople, frozen=True):
    """What became of an order.

    Attributes:
        done: whether the order is carried out, or about to be.
        text: what happened, in a sentence.
    """

    done: bool
    text: str


_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answer_decoder = msgspec.msgpack.Decoder(Answer)
_history_decoder = msgspec.msgpack.Decoder(HistoryPart)


def decode_request(data: bytes) -> Request:
    """A request as it was sent.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _request_decoder.decode(data)


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


def give_order(order: Order, snapshot: Path, *, patience_s: float = 15.0) -> Answer:
    """Give a server an order. Returns its answer.

    Args:
        order: the order.
        snapshot: the file of the server's snapshot. Its socket and its key lie beside it.
        patience_s: how long the server may take. Default 15.

    Raises:
        MPKernelError: it does not answer.
    """
    return _ask(order, snapshot, _answer_decoder, MAX_MESSAGE_BYTES, patience_s)


def read_history(snapshot: Path, *, since: int = 0, patience_s: float = 15.0) -> HistoryPart:
    """What a server keeps of the last hour.

    Args:
        snapshot: as for `give_order`.
        since: see `ReadHistory`.
        patience_s: how long the server may take. Default 15.

    Raises:
        MPKernelError: it does not answer, or it is of a version that keeps no history.
    """
    return _ask(ReadHistory(since), snapshot, _history_decoder, _MAX_HISTORY_BYTES, patience_s)


def _ask(
    request: Request,
    snapshot: Path,
    decoder: msgspec.msgpack.Decoder[_T],
    max_bytes: int,
    patience_s: float,
) -> _T:
    try:
        key = read_bounded(snapshot.with_suffix(".key"), _MAX_KEY_BYTES)
        with (
            _connect(snapshot.with_suffix(".sock"), patience_s) as connection,
            cut_off_after(connection, patience_s),
        ):
            answer_challenge(connection, key)
            deliver_challenge(connection, key)
            connection.send_bytes(msgspec.msgpack.encode(request))
            return decoder.decode(connection.recv_bytes(max_bytes))
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
