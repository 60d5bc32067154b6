"""`Connection`: one connection between two workers.

    client                                     worker that listens
                      ◀── 32 random bytes ───
    32 random bytes, proof of the key ───────▶
                      ◀── proof of the key ──                        (each proof is an HMAC)
    Question ────────▶         ◀──────── Reply                       any number of times
    Opening ─────────▶                                               one request after the other
    Message ────────▶ …        … ◀──── Message                       ASGI's, both ways
                               ◀──────── Done

Each message is 4 bytes with its length, and that many bytes in msgpack. Each side writes the next
message when the other has taken most of those before, and reads one only when it is wanted. So a
browser that is slow slows the session down as it would in its own worker, and neither side keeps
more than the system's buffers and one message.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import struct

import msgspec

from mpkernel.errors import ProtocolError

__all__ = ["Connection", "Done", "Message", "Opening", "Question", "Reply", "connected"]

_NONCE_BYTES = 32
_PROOF_BYTES = 32
_BUFFER_BYTES = 256 * 1024
_LENGTH = struct.Struct("!I")


class Opening(msgspec.Struct, frozen=True, tag="opening", array_like=True):
    """A request.

    Attributes:
        app: which of the worker's applications is meant.
        scope: the request's scope, as the application's own code has encoded it.
    """

    app: str
    scope: bytes


class Message(msgspec.Struct, frozen=True, tag="message", array_like=True, gc=False):
    """A message of ASGI.

    Attributes:
        content: the message.
    """

    content: dict[str, object]


class Done(msgspec.Struct, frozen=True, tag="done", array_like=True):
    """The application has returned.

    Attributes:
        failure: the error with which it ended; "" for none.
        is_logged: whether all that people must know of the error is in the log.
    """

    failure: str = ""
    is_logged: bool = False


class Question(msgspec.Struct, frozen=True, tag="question", array_like=True):
    """Whether the worker has a virtual file.

    Attributes:
        file: the file's name.
    """

    file: str


class Reply(msgspec.Struct, frozen=True, tag="reply", array_like=True):
    """The answer to a `Question`.

    Attributes:
        has_it: whether the worker has the file.
    """

    has_it: bool


_Any = Opening | Message | Done | Question | Reply
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Any)


class Connection:
    """On the loop's thread.

    Args:
        reader, writer: the two ends of a Unix socket.
        most_bytes: how long a message may be.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, most_bytes: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._most_bytes = most_bytes
        self._length: int | None = None  # of the message of which no byte has been taken so far

    @property
    def is_over(self) -> bool:
        """Whether the other side is gone, as far as is known."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def read(self) -> _Any:
        """The next message. If this is cancelled, the next call begins where this one was.

        Raises:
            EOFError: the other side has ended the connection.
            OSError: the connection is broken.
            ProtocolError: what came is not a message, or is too long.
        """
        if self._length is None:
            (self._length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if self._length > self._most_bytes:
                raise ProtocolError(f"a worker announced a message of {self._length} bytes")
        content = await self._reader.readexactly(self._length)
        self._length = None
        try:
            message: _Any = _decoder.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError(f"a worker sent no message of this protocol: {error}") from error
        return message

    async def write(self, message: _Any) -> None:
        """Write a message, and wait until the other side has taken most of what was written. If
        this is cancelled, the message is sent all the same.

        Raises:
            OSError: the connection is broken.
            ProtocolError: the message is too long, or contains what is not plain data.
        """
        try:
            content = _encoder.encode(message)
        except (TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise ProtocolError(f"a message cannot be sent to another worker: {error}") from error
        if len(content) > self._most_bytes:
            raise ProtocolError(f"a message of {len(content)} bytes is too long for another worker")
        if self._writer.is_closing():
            raise ConnectionResetError("the connection to the other worker is closed")
        # `writelines` would join them, too; but with it `drain` does not wait in Python 3.13.0.
        self._writer.write(_LENGTH.pack(len(content)) + content)
        await self._writer.drain()

    async def let_in(self, key: bytes) -> bool:
        """Prove to a client that this worker has the key, if the client proves the same. Returns
        whether the client did.

        Raises:
            EOFError, OSError: see `read`.
        """
        ours = secrets.token_bytes(_NONCE_BYTES)
        self._writer.write(ours)
        given = await self._reader.readexactly(_NONCE_BYTES + _PROOF_BYTES)
        theirs, proof = given[:_NONCE_BYTES], given[_NONCE_BYTES:]
        if not hmac.compare_digest(proof, _proof(key, b"client", ours, theirs)):
            return False
        self._writer.write(_proof(key, b"worker", theirs, ours))
        return True

    async def introduce(self, key: bytes) -> None:
        """The client's side of `let_in`.

        Raises:
            EOFError, OSError: see `read`.
            ProtocolError: the other side does not have the key.
        """
        theirs = await self._reader.readexactly(_NONCE_BYTES)
        ours = secrets.token_bytes(_NONCE_BYTES)
        self._writer.write(ours + _proof(key, b"client", theirs, ours))
        proof = await self._reader.readexactly(_PROOF_BYTES)
        if not hmac.compare_digest(proof, _proof(key, b"worker", ours, theirs)):
            raise ProtocolError("whoever listens at the socket of a worker is not that worker")

    def end_input(self) -> None:
        """Have `read` find that the other side has ended the connection."""
        self._reader.feed_eof()

    def close(self) -> None:
        """End the connection at once. Idempotent."""
        self._writer.transport.abort()


async def connected(path: str, key: bytes, *, most_bytes: int) -> Connection:
    """A connection to the worker that listens there.

    Raises:
        OSError: nobody listens there.
        EOFError: the worker is about to end.
        ProtocolError: it is another one.
    """
    reader, writer = await asyncio.open_unix_connection(path, limit=_BUFFER_BYTES)
    connection = Connection(reader, writer, most_bytes=most_bytes)
    try:
        await connection.introduce(key)
    except BaseException:
        connection.close()
        raise
    return connection


def _proof(key: bytes, side: bytes, first: bytes, second: bytes) -> bytes:
    return hmac.digest(key, side + first + second, "sha256")
