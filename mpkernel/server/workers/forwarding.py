"""`Peer`: another worker of this server, which serves requests for the sessions that it has.

    browser ─▶ receive ─▶ Message ─▶ that worker's application
    browser ◀── send ◀── Message ◀──┘

A connection is used again for the next request. A WebSocket has one to itself until its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from mpkernel.aio.broken_answers import BrokenAnswer
from mpkernel.aio.tasks import cancel_and_wait, supervised_task
from mpkernel.errors import MPKernelError, ProtocolError
from mpkernel.logs import get_logger
from mpkernel.server.workers.connection import (
    Connection,
    Done,
    Message,
    Opening,
    Question,
    Reply,
    connected,
)
from mpkernel.server.workers.serving import Content, Receive, Send

__all__ = ["Peer", "PeerFailed", "PeerGone", "PeerLost", "PeerSilent"]

logger = get_logger(__name__)

_MOST_IDLE = 8
_ANSWER_WITHIN_S = 5.0
_LOST = (OSError, EOFError, ProtocolError)


class PeerGone(MPKernelError):
    """Another worker does not listen: it is dead, or about to end. Nothing was handed over."""


class PeerSilent(MPKernelError):
    """Another worker is stopped, or its event loop stands still."""


class PeerLost(MPKernelError):
    """Another worker ended while it served a request."""


class PeerFailed(MPKernelError):
    """A request failed in the application of another worker, whose log says how."""


class Peer:
    """On the loop's thread.

    Args:
        name: the worker's name.
        address: gives the path of its socket and its key; raises `OSError` if it has none.
        most_bytes: how long a message may be.
        is_dead: whether the worker is known to be dead. Default: that is never known.
        answer_within_s: how long the worker may take for anything but a request itself.

    Attributes:
        name: as given.
    """

    def __init__(
        self,
        name: str,
        address: Callable[[], tuple[str, bytes]],
        *,
        most_bytes: int,
        is_dead: Callable[[], bool] = lambda: False,
        answer_within_s: float = _ANSWER_WITHIN_S,
    ) -> None:
        self.name = name
        self._address = address
        self._most_bytes = most_bytes
        self._is_dead = is_dead
        self._answer_within_s = answer_within_s
        self._idle: list[Connection] = []
        self._is_closed = False

    async def has_file(self, name: str) -> bool:
        """Whether it has a virtual file. A worker that does not answer has none."""
        try:
            connection = await self._connection()
        except (PeerGone, PeerSilent):
            return False
        try:
            async with asyncio.timeout(self._answer_within_s):
                await connection.write(Question(name))
                reply = await connection.read()
        except (*_LOST, TimeoutError):
            connection.close()
            return False
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        return isinstance(reply, Reply) and reply.has_it

    async def reach(self) -> None:
        """Return if it serves requests now.

        Raises:
            PeerGone, PeerSilent: see `serve`.
        """
        self._keep(await self._connection())

    async def serve(self, app: str, scope: bytes, receive: Receive, send: Send) -> None:
        """Have it serve a request.

        Args:
            app: which of its applications.
            scope: the request's scope, encoded.
            receive, send: the server's.

        Raises:
            PeerGone: it does not listen. Nothing was received.
            PeerSilent: it neither answers this request nor any other.
            PeerLost: it ended before the answer was complete.
            PeerFailed: its application raised an error.
            BrokenAnswer: its application has broken its answer off.
        """
        connection = await self._connection()
        browser = _Browser(connection, receive)
        try:
            message = await self._handed_over(connection, browser, Opening(app, scope), send)
        except BaseException:
            connection.close()
            raise
        if browser.is_complete:
            self._keep(connection)
        else:  # what is left of the request would be taken for the next one
            connection.close()
        if message.failure and message.is_logged:
            raise BrokenAnswer(message.failure)
        if message.failure:
            raise PeerFailed(f"a request failed in another process: {message.failure}")

    def close(self) -> None:
        """End the connections that no request uses. Idempotent."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    async def _handed_over(
        self, connection: Connection, browser: _Browser, opening: Opening, send: Send
    ) -> Done:
        sending: asyncio.Task[None] | None = None
        watch = _DeathWatch(connection, self._is_dead, self._answer_within_s)
        try:
            await connection.write(opening)
            sending = supervised_task(browser.send_on(), name="mpkernel.hand-over")
            message = await self._first_of(connection)
            while isinstance(message, Message):
                await send(message.content)
                message = await connection.read()
        except _LOST as error:
            if isinstance(error, ProtocolError) or connection.is_over:
                raise PeerLost(
                    f"the server's process {self.name} ended while it served a request"
                ) from error
            raise  # `send` has failed: the browser is gone
        finally:
            watch.cancel()
            if sending is not None:
                await cancel_and_wait(sending)
        if not isinstance(message, Done):
            raise PeerLost(f"the server's process {self.name} answers in another protocol")
        return message

    async def _first_of(self, connection: Connection) -> object:
        """The first message of an answer. Waits for it as long as the worker lets others in."""
        reading = asyncio.create_task(connection.read())
        try:
            while not (await asyncio.wait([reading], timeout=self._answer_within_s))[0]:
                try:
                    self._keep(await self._connected())
                except PeerGone:  # the worker is about to end, and may still answer
                    continue
            return reading.result()
        finally:
            if not reading.done():
                with suppress(*_LOST):
                    await cancel_and_wait(reading)

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_over:
                return connection
            connection.close()
        return await self._connected()

    async def _connected(self) -> Connection:
        try:
            async with asyncio.timeout(self._answer_within_s):
                path, key = self._address()
                return await connected(path, key, most_bytes=self._most_bytes)
        except TimeoutError as error:
            raise PeerSilent(f"the server's process {self.name} does not answer") from error
        except BlockingIOError as error:  # more connections wait than it has taken
            raise PeerSilent(f"the server's process {self.name} takes no connections") from error
        except _LOST as error:
            raise PeerGone(f"the server's process {self.name} does not listen: {error}") from error

    def _keep(self, connection: Connection) -> None:
        if self._is_closed or len(self._idle) >= _MOST_IDLE:
            connection.close()
        else:
            self._idle.append(connection)


class _DeathWatch:
    """Closes a connection when the worker at its other end is dead: a fork of the worker may hold
    that end open, and the answer would never come."""

    def __init__(
        self, connection: Connection, is_dead: Callable[[], bool], look_every_s: float
    ) -> None:
        self._connection = connection
        self._is_dead = is_dead
        self._look_every_s = look_every_s
        self._look_later()

    def cancel(self) -> None:
        """Watch it no more."""
        self._timer.cancel()

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._look_every_s, self._look)

    def _look(self) -> None:
        if self._is_dead():
            self._connection.close()
        else:
            self._look_later()


class _Browser:
    """What a browser sends for one request, to the worker that serves it.

    Attributes:
        is_complete: whether the whole request was sent on, and nothing after it.
    """

    def __init__(self, connection: Connection, receive: Receive) -> None:
        self._connection = connection
        self._receive = receive
        self.is_complete = False

    async def send_on(self) -> None:
        """Send on what the browser sends, until it disconnects."""
        try:
            while await self._sent_on(await self._receive()):
                continue
        except OSError as error:  # `serve`, which reads the answer, finds the same
            logger.debug("a request cannot be sent on: %s", error)
            self._connection.close()
        except Exception:
            self._connection.close()
            raise

    async def _sent_on(self, content: Content) -> bool:
        is_last = content["type"] in ("http.disconnect", "websocket.disconnect")
        if is_last:
            self.is_complete = False
        await self._connection.write(Message(dict(content)))
        if content["type"] == "http.request":
            self.is_complete = not content.get("more_body", False)
        return not is_last
