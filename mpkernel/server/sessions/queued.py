"""`QueuedSession`: a session whose messages wait until a task of asyncio reads them."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Sequence
from typing import Self

from mpkernel.aio.loops import running_loop
from mpkernel.aio.patience import patient_timeout
from mpkernel.errors import MPKernelError, ProtocolError, SessionClosed
from mpkernel.logs import get_logger
from mpkernel.server.sessions.app_and_host import AppOfSession
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.sessions.journal import Journal
from mpkernel.server.supervision.deaths import Death
from mpkernel.wire.frames import MESSAGE_COST_BYTES, Channel, Frame, Message, cost_of

__all__ = ["QueuedSession"]

logger = get_logger(__name__)

_TAKEN_IN_A_ROW = 256
"""After so many messages without a wait, the iteration lets the loop do other work."""

_UNTOLD_BYTES = 16 * 1024
"""How many bytes may be taken before the host is told, while more messages are there."""

_new_message = functools.partial(tuple.__new__, Message)  # costs half as much as calling the class


class QueuedSession(BaseSession):
    """The half of a session that its app and its host know; a user of the library holds the
    `Session` that belongs to it. Only one task at a time may iterate.

    Args:
        app, session_id, journal: see `BaseSession`.
    """

    def __init__(
        self, app: AppOfSession[BaseSession], session_id: str, journal: Journal | None = None
    ) -> None:
        super().__init__(app, session_id, journal)
        # Frames, which the garbage collector does not go through, not `Message`s: going through a
        # hundred thousand of them would stop the loop for a while.
        self._frames: deque[Frame] = deque()
        # These are as many messages as fit into the window, and some more. Without a bound on empty
        # messages, the loop would often have to wait for the garbage collector.
        self._most_messages_of_a_process = app.settings.window_bytes // MESSAGE_COST_BYTES + 1024
        self._most_messages = self._most_messages_of_a_process
        self._taken_in_a_row = 0
        self._untold_bytes = 0
        self._loop = running_loop()
        self._waiter: asyncio.Future[None] | None = None  # what the iteration waits for
        self._started = asyncio.Event()
        self._ended = asyncio.Event()
        self._error: MPKernelError | None = None
        self._closed = False

    @property
    def unread_bytes(self) -> int:
        return cost_of(self._frames.copy()) + self._untold_bytes

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """See `Session.__anext__`."""
        while not self._frames:
            if self._closed:
                raise StopAsyncIteration
            if self._ended.is_set():
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._taken_in_a_row = 0
            await self._next_change()
        self._taken_in_a_row += 1
        if self._taken_in_a_row > _TAKEN_IN_A_ROW:
            self._taken_in_a_row = 0
            await asyncio.sleep(0)
        frame = self._frames.popleft()
        payload = frame.payload
        self._untold_bytes += len(payload) + MESSAGE_COST_BYTES
        if not self._frames or self._untold_bytes > _UNTOLD_BYTES:
            count, self._untold_bytes = self._untold_bytes, 0
            self.taken(count)
        return _new_message((frame.channel, payload))

    async def started(self) -> None:
        """Wait until the kernel's thread runs.

        Raises:
            HostStartError, HostDied, KernelFailed, PoolClosed: it will never run.
            SessionClosed: the session was closed before that.
        """
        await self._started.wait()
        if self.record.has_run:
            return
        if self._error is not None:
            raise self._error
        raise SessionClosed(
            f"session {self.session_id} of {self.app.name} was closed before its kernel ran",
            remedy="open a new session",
        )

    async def close(self) -> None:
        """End the kernel and wait for its end, for `Settings.stop_grace_s` at the longest: a kernel
        that is busy for longer ends when it next looks. Idempotent.

        Raises:
            RuntimeError: the session belongs to another event loop, which is not closed.
        """
        if self._loop is not None and self._loop.is_closed():
            return  # whoever ends the pool ends the kernel
        self._on_its_loop()
        if self._closed:
            return
        self._closed = True
        self._wake()
        self.stop()
        try:
            async with patient_timeout(self.app.settings.stop_grace_s):
                await self._ended.wait()
        except TimeoutError:
            logger.warning(
                "a kernel is still busy after its session was closed",
                app=self.app.path,
                session=self.session_id,
                pid=self.host.pid if self.host is not None else None,
            )

    def created(self, thread: int) -> None:
        super().created(thread)
        self._started.set()

    def on_message(self, channel: Channel, payload: bytes) -> None:
        self.on_messages([Frame(channel, self.number, payload)])

    def on_messages(self, messages: Sequence[Frame]) -> None:
        if self._closed:
            self.taken(cost_of(messages))
            return
        if len(self._frames) > self._most_messages:
            raise ProtocolError(
                f"{len(self._frames)} messages of session {self.session_id} wait for a client"
                " that does not read, beyond its window"
            )
        self._frames.extend(messages)
        self._wake()

    def suspend(self) -> None:
        super().suspend()
        # Messages of this process stay in the queue; those of the next process follow them.
        self._most_messages = len(self._frames) + self._most_messages_of_a_process

    def on_recovered(self, death: Death, lost: tuple[str, ...], *, guilty: bool) -> None:
        assert self._journal is not None
        notice = self._journal.notice(death, lost, guilty=guilty)
        if notice is not None:
            self.on_message(Channel.STREAM, notice)

    def on_end(self, error: MPKernelError | None) -> None:
        self._error = error
        self._ended.set()
        self._started.set()
        self._wake()

    def _next_change(self) -> asyncio.Future[None]:
        """A future that is done when a message comes or the session ends. It is needed for each
        small message, and costs half of what an `asyncio.Event` does."""
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError(f"another task waits for messages of session {self.session_id}")
        self._waiter = self._on_its_loop().create_future()
        return self._waiter

    def _on_its_loop(self) -> asyncio.AbstractEventLoop:
        """The running loop, which must be the one that the session was opened on: whoever waits on
        another one would not be woken."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise RuntimeError(
                f"session {self.session_id} of {self.app.name} belongs to the event loop on which"
                " it was opened, and this is another one (asyncio.run_coroutine_threadsafe calls it"
                " there)"
            )
        return loop

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
