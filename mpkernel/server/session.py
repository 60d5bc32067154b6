"""Sessions: one client's end of one kernel.

`SessionLink` is what every session has: its number, its windows, its way to the host. What becomes
of a message that arrives is its subclass's: `Session` keeps it for `async for`, a notebook server's
backend hands it on.
"""

from __future__ import annotations

import abc
import asyncio
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Self

from mpkernel.errors import HostUnresponsive, MPKernelError, SessionClosed
from mpkernel.wire.frames import Channel, Message
from mpkernel.wire.messages import Credit, StopKernel, encode

if TYPE_CHECKING:
    from mpkernel.server.host import AppHost

__all__ = ["Session", "SessionLink"]

logger = logging.getLogger(__name__)


class SessionLink(abc.ABC):
    """A session as its host knows it.

    The two windows: what is sent down and not yet taken by the kernel is bounded here (`send`
    keeps the rest, and refuses when that is too much); what comes up and is not yet taken by the
    client is bounded in the host, which learns of it through `taken`.

    Attributes:
        session_id: the client's name for the session.
        number: its number on the wire, given by the host.
        host: the app host that it is on.
    """

    def __init__(self, host: AppHost, session_id: str) -> None:
        self.host = host
        self.session_id = session_id
        self.number = 0
        self.thread: int | None = None
        settings = host.settings
        self._window_bytes = settings.window_bytes
        self._waiting_limit = settings.backlog_bytes
        self._lock = threading.Lock()  # guards all below
        self._outstanding = 0
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._withheld = 0
        self._over = False

    @property
    def over(self) -> bool:
        """Whether the kernel ended, or its process, or the session was closed."""
        return self._over

    def send(self, channel: Channel, payload: bytes) -> None:
        """Send bytes to the kernel, from any thread. Never waits; messages keep their order.

        Raises:
            SessionClosed: the session is over.
            HostUnresponsive: the kernel is behind by more than window and backlog.
            ProtocolError: the payload is over the maximum size.
        """
        with self._lock:
            if self._over:
                raise SessionClosed(
                    f"session {self.session_id} of {self.host.name} is over",
                    remedy="open a new session",
                )
            if self._waiting or not self._has_room(len(payload)):
                if self._waiting and self._waiting_bytes + len(payload) > self._waiting_limit:
                    raise HostUnresponsive(
                        f"the kernel of session {self.session_id} of {self.host.name} takes no"
                        f" input: {self._waiting_bytes} bytes wait for it",
                        remedy="wait until it answers again, or close the session",
                    )
                self._waiting.append(Message(channel, payload))
                self._waiting_bytes += len(payload)
                return
            self.host.send(channel, self.number, payload)
            self._outstanding += len(payload)

    def taken(self, count: int) -> None:
        """Say that the client took `count` bytes of messages, from any thread."""
        with self._lock:
            self._withheld += count
            if self._over:
                return
            if self._withheld < self._window_bytes // 4:
                self.host.owe_credit(self)
                return
        self.pay_credit()

    def pay_credit(self) -> None:
        """The host's: send the credit that is withheld."""
        with self._lock:
            count, self._withheld = self._withheld, 0
            if count and not self._over:
                self.host.send(Channel.MANAGEMENT, self.number, encode(Credit(count)))

    def stop(self) -> None:
        """Ask the kernel to end, from any thread. What it still sends is delivered."""
        if not self._over:
            self.host.send(Channel.MANAGEMENT, self.number, encode(StopKernel()))

    def credited(self, count: int) -> None:
        """The host's: the kernel took `count` bytes."""
        with self._lock:
            self._outstanding = max(0, self._outstanding - count)
            while self._waiting and self._has_room(len(self._waiting[0].payload)):
                channel, payload = self._waiting.popleft()
                self._waiting_bytes -= len(payload)
                self._outstanding += len(payload)
                self.host.send(channel, self.number, payload, refusable=False)

    def created(self, thread: int) -> None:
        """The host's: the kernel's thread runs. `thread` is its ident there."""
        self.thread = thread

    def end(self, error: MPKernelError | None) -> None:
        """The host's: nothing follows. `error` says why, None that the kernel returned."""
        with self._lock:
            if self._over:
                return
            self._over = True
            self._waiting.clear()
        self.on_end(error)

    def on_file_refused(self, error: Exception) -> None:  # noqa: B027 (not every client can be told)
        """A virtual file of the session was refused, and cannot be fetched; it is in the log."""

    @abc.abstractmethod
    def on_message(self, channel: Channel, payload: bytes) -> None:
        """A message arrived. On the loop's thread; must return at once."""

    @abc.abstractmethod
    def on_end(self, error: MPKernelError | None) -> None:
        """The session is over. On the loop's thread, once, after the last `on_message`."""

    def _has_room(self, count: int) -> bool:
        return (
            self._outstanding <= self._window_bytes // 4
            or self._outstanding + count <= self._window_bytes
        )


class Session(SessionLink):
    """A client's end of a kernel, for asyncio. Opened by `HostPool.open_session`.

        async with await pool.open_session("app.py", kernel=spec) as session:
            session.send(Channel.CONTROL, b"hello")
            async for channel, payload in session: ...

    One task iterates at a time. What it has not taken counts against the session's window: a
    client that does not read holds its kernel's output back, and nothing else.
    """

    def __init__(self, host: AppHost, session_id: str) -> None:
        super().__init__(host, session_id)
        self._messages: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._started = asyncio.Event()
        self._ended = asyncio.Event()
        self._error: MPKernelError | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """The next message. Ends when the kernel has returned, or the session is closed.

        Raises:
            KernelFailed: the kernel ended with an exception.
            HostDied: its process ended.
        """
        while not self._messages:
            if self._closed:
                raise StopAsyncIteration
            if self._ended.is_set():
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self.taken(len(message.payload))
        return message

    async def started(self) -> None:
        """Wait until the kernel's thread runs.

        Raises:
            HostStartError, HostDied, KernelFailed: it never will.
        """
        await self._started.wait()
        if self._error is not None and self.thread is None:
            raise self._error

    async def close(self) -> None:
        """End the kernel and wait for its end, for `Settings.stop_grace_s` at the longest: a kernel
        that is busy for longer ends when it next looks. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._changed.set()
        self.stop()
        try:
            async with asyncio.timeout(self.host.settings.stop_grace_s):
                await self._ended.wait()
        except TimeoutError:
            logger.warning(
                "a kernel is still busy after its session was closed app=%s session=%s pid=%s",
                self.host.app,
                self.session_id,
                self.host.pid,
            )

    def created(self, thread: int) -> None:
        super().created(thread)
        self._started.set()

    def on_message(self, channel: Channel, payload: bytes) -> None:
        if self._closed:
            self.taken(len(payload))
            return
        self._messages.append(Message(channel, payload))
        self._changed.set()

    def on_end(self, error: MPKernelError | None) -> None:
        self._error = error
        self._ended.set()
        self._started.set()
        self._changed.set()
