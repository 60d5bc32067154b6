"""`WorkerSocket`: serves what other workers hand over, with this worker's applications."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TypeAlias

from mpkernel.aio.broken_answers import BrokenAnswer
from mpkernel.aio.tasks import supervised_task
from mpkernel.errors import ProtocolError
from mpkernel.logs import get_logger
from mpkernel.server.workers.connection import (
    Connection,
    Done,
    Message,
    Opening,
    Question,
    Reply,
)

__all__ = ["AsgiApp", "Content", "Receive", "Scope", "Send", "WorkerSocket"]

logger = get_logger(__name__)

Content: TypeAlias = MutableMapping[str, object]
Scope: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Content]]
Send: TypeAlias = Callable[[Content], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_PATIENCE_S = 5.0
_MOST_STRANGERS = 64
_RESTARTED = 1012
"""The code with which a WebSocket is closed because its server was restarted."""


class WorkerSocket:
    """On the loop's thread.

    Args:
        key: what clients must know.
        apps: the applications, by the names that clients use. Each is called with a scope that
            `scope_of` has made.
        scope_of: makes a scope of the bytes that the client sent; raises `ProtocolError` if they
            are none.
        has_file: whether this worker has a virtual file.
        most_bytes: how long a message may be.
    """

    def __init__(
        self,
        key: bytes,
        apps: Mapping[str, AsgiApp],
        scope_of: Callable[[bytes], Scope],
        has_file: Callable[[str], bool],
        *,
        most_bytes: int,
    ) -> None:
        self._key = key
        self._apps = apps
        self._scope_of = scope_of
        self._has_file = has_file
        self._most_bytes = most_bytes
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: set[_Request] = set()
        self._idle: set[Connection] = set()
        self._strangers = 0
        self._server: asyncio.Server | None = None

    async def listen(self, at: socket.socket) -> None:
        """Take connections from now on, at this socket instead of an earlier one."""
        if self._server is not None:
            self._server.close()
        self._server = await asyncio.start_unix_server(self._accepted, sock=at)

    def leave(self) -> None:
        """Take no connections any more. Browsers whose WebSockets are served here are disconnected,
        as the server does with its own when it ends. Idempotent."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._idle):
            connection.close()
        for request in list(self._requests):
            request.leave()

    async def close(self) -> None:
        """End all that is left. Idempotent."""
        self.leave()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, most_bytes=self._most_bytes)
        if self._strangers >= _MOST_STRANGERS:
            connection.close()
            return
        supervised_task(self._serve(connection), name="mpkernel.worker", registry=self._tasks)

    async def _serve(self, connection: Connection) -> None:
        try:
            if await self._is_one_of_us(connection):
                while await self._answered(connection, await self._next(connection)):
                    continue
        except (OSError, EOFError) as error:  # TimeoutError is one, too
            logger.debug("another worker has ended a connection: %r", error)
        except ProtocolError as error:
            logger.warning("a connection of another worker was ended: %s", error)
        finally:
            connection.close()

    async def _next(self, connection: Connection) -> object:
        self._idle.add(connection)
        try:
            return await connection.read()
        finally:
            self._idle.discard(connection)

    async def _is_one_of_us(self, connection: Connection) -> bool:
        self._strangers += 1
        try:
            async with asyncio.timeout(_PATIENCE_S):
                if await connection.let_in(self._key):
                    return True
            logger.warning("somebody who does not know the key connected to this worker's socket")
        except TimeoutError:
            logger.debug("a client of this worker's socket was silent")
        finally:
            self._strangers -= 1
        return False

    async def _answered(self, connection: Connection, message: object) -> bool:
        """Whether the connection can be used again."""
        match message:
            case Question(name):
                await connection.write(Reply(self._has_file(name)))
                return True
            case Opening():
                return await self._ran(connection, message)
        return False  # the rest of a request that the client gave up

    async def _ran(self, connection: Connection, opening: Opening) -> bool:
        app = self._apps.get(opening.app)
        if app is None:
            await connection.write(Done(f"this worker has no application at {opening.app!r}"))
            return False
        scope = self._scope_of(opening.scope)
        request = _Request(connection, is_websocket=scope["type"] == "websocket")
        self._requests.add(request)
        failure, is_logged = "", False
        try:
            await app(scope, request.receive, request.send)
        except BrokenAnswer as error:
            if connection.is_over:
                raise ConnectionResetError("the other worker has ended") from error
            failure, is_logged = str(error), True
        except Exception as error:  # the other worker answers in its place
            if connection.is_over:
                raise
            logger.exception("a request that came from another worker failed")
            failure = f"{type(error).__name__}: {error}"
        finally:
            self._requests.discard(request)
            request.is_over = True
        await connection.write(Done(failure, is_logged))
        async with asyncio.timeout(_PATIENCE_S):
            await request.read_rest()
        return request.is_complete


class _Request:
    """One request of another worker.

    Args:
        connection: what it came by.
        is_websocket: whether it opens a WebSocket.

    Attributes:
        is_complete: whether all of it was read, and its client has not gone.
        is_over: whether the application has returned.
    """

    def __init__(self, connection: Connection, *, is_websocket: bool) -> None:
        self._connection = connection
        self._is_websocket = is_websocket
        self._has_left = False
        self._is_accepted = False
        self._last: Content | None = None  # what the client said when it went
        self.is_complete = False
        self.is_over = False

    async def receive(self) -> Content:
        """ASGI's `receive` for the application."""
        if self.is_over:  # the next message is that of another request
            raise ConnectionResetError("the request is over")
        return self._last if self._last is not None else await self._next()

    async def send(self, content: Content) -> None:
        """ASGI's `send` for the application.

        Raises:
            OSError: the browser, or its worker, is gone.
        """
        if self._has_left:
            return
        self._is_accepted |= content["type"] == "websocket.accept"
        await self._connection.write(Message(dict(content)))

    def leave(self) -> None:
        """This worker is about to end: disconnect the browser, if it waits for what is to come."""
        if self._has_left:
            return
        if self._is_accepted:
            self._has_left = True
            close: dict[str, object] = {"type": "websocket.close", "code": _RESTARTED}
            supervised_task(self._written(close), name="mpkernel.worker-leaves")
        elif self.is_complete:
            self._connection.end_input()

    async def read_rest(self) -> None:
        """Read what the application did not want of the request's body. A client that has not
        sent all of it ends the connection now."""
        while not (self._is_websocket or self.is_complete or self._last is not None):
            await self._next()

    async def _next(self) -> Content:
        try:
            message = await self._connection.read()
        except (OSError, EOFError):  # the other worker has ended, and the browser is gone with it
            kind = "websocket.disconnect" if self._is_websocket else "http.disconnect"
            return self._gone({"type": kind, "code": 1006})
        if not isinstance(message, Message):
            raise ProtocolError("a worker sent something else while its request was served")
        content = message.content
        match content.get("type"):
            case "http.request":
                self.is_complete = not content.get("more_body", False)
            case "http.disconnect" | "websocket.disconnect":
                return self._gone(content)
        return content

    async def _written(self, content: dict[str, object]) -> None:
        try:
            await self._connection.write(Message(content))
        except OSError as error:
            logger.debug("a browser was gone before it was disconnected: %s", error)

    def _gone(self, content: Content) -> Content:
        self._last = content
        self.is_complete = False
        return content
