"""`Session`: the half of a session that a client of a kernel holds. The app and the host have the
other half, `QueuedSession`.

    client ─▶ Session ─ send · stop · close ─▶ QueuedSession ◀─ received · created · resume … ─ host
       ▲         │                                  │
       └─────────┴──── async for: its messages ─────┘
"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import Self

from mpkernel.argument_checks import check_argument
from mpkernel.errors import SessionClosed
from mpkernel.server.sessions.app_and_host import HostOfClient
from mpkernel.server.sessions.queued import QueuedSession
from mpkernel.server.sessions.traffic import SessionTraffic
from mpkernel.wire.frames import Channel, Message
from mpkernel.wire.payloads import checked_channel, checked_payload

__all__ = ["Session"]

_LONGEST_S = 1e9


class Session:
    """A client's connection to a kernel, for asyncio. `HostPool.open_session` opens one.

        async with await pool.open_session("app.py", kernel=spec) as session:
            session.send(Channel.CONTROL, b"hello")
            async for channel, payload in session: ...

    Only one task at a time may iterate. Messages that it has not taken count against the session's
    window (`Settings.window_bytes`): if a client does not read, its own kernel has to wait with its
    output, and no other. Leaving `async with` closes the session. In a fork of the server, `stop`
    and `close` do nothing: the session is its parent's.

    Args:
        queued: the session as its app and its host know it.
    """

    def __init__(self, queued: QueuedSession) -> None:
        self._queued = queued
        self._pid = os.getpid()

    @property
    def app(self) -> str:
        """The absolute path of the app's file."""
        return self._queued.app.path

    @property
    def session_id(self) -> str:
        """The client's name for the session; no other open session of the app has it."""
        return self._queued.session_id

    @property
    def host(self) -> HostOfClient | None:
        """The process that the kernel is in, one of `HostPool.hosts`; None while the session waits
        for one."""
        return self._queued.host

    @property
    def pid(self) -> int | None:
        """The id of that process; None while the session waits for one."""
        host = self._queued.host
        return None if host is None else host.pid

    @property
    def over(self) -> bool:
        """Whether the session is over: its kernel has ended, or its process has ended and the
        session does not come back. Messages may still wait to be read."""
        return self._queued.over

    @property
    def traffic(self) -> SessionTraffic:
        """How many commands are done, which one runs, as far as the journal knows, and how many
        bytes the kernel has not taken. From any thread."""
        return self._queued.traffic

    def send(self, channel: Channel, payload: bytes, command: object = None) -> None:
        """Send bytes to the kernel, from any thread. Never waits. Messages keep their order,
        whatever their channel.

        Args:
            channel: what the payload is for; see `Channel`.
            payload: at most `Settings.max_frame_bytes` long, less 5 bytes.
            command: what the session's journal is told of it. Default: the payload.

        Raises:
            SessionClosed: the session is over, or this is a fork of its server.
            HostUnresponsive: so many bytes wait for the kernel that `Settings.window_bytes` and
                `Settings.backlog_bytes` have no more room; or the session waits for a process, and
                its journal has no more room.
            ProtocolError: the payload is too long.
            TypeError: the payload is not bytes, or there is no such channel for users.
        """
        if os.getpid() != self._pid:
            raise SessionClosed(
                f"session {self.session_id} belongs to the process of which this one is a fork",
                remedy="open a session in the fork, with a pool of its own",
            )
        self._queued.send(checked_channel(channel), checked_payload(payload), command)

    def __aiter__(self) -> QueuedSession:
        return self._queued  # this saves a call for each message

    def __anext__(self) -> Awaitable[Message]:
        """The next message, for `await anext(session)`.

        Raises:
            StopAsyncIteration: the kernel has returned, or the session was closed.
            KernelFailed: the kernel ended with an exception.
            HostDied: its process ended, and the session cannot come back, or ended it again.
            AppUnavailable: its process ended, and the app has died too often to be started again.
            PoolClosed: the pool was closed.
            RuntimeError: another task waits for the next message, or the session belongs to another
                event loop.
        """
        return self._queued.__anext__()

    def stop(self, *, patience_s: float = 0.0) -> None:
        """Ask the kernel to end, from any thread, and return at once. The messages that the kernel
        still sends can be read; after the last one, the iteration ends.

        Args:
            patience_s: how many seconds its present command may go on before it is interrupted.
                Less than 0, such as what is left of a time that is over, counts as 0.

        Raises:
            TypeError: it is not a number.
        """
        check_argument("patience_s", patience_s, (int, float), "a number of seconds")
        if os.getpid() == self._pid:
            # A host that is sent any other number, NaN for example, ends with all its sessions.
            self._queued.stop(patience_s=float(min(max(0.0, patience_s), _LONGEST_S)))

    async def close(self) -> None:
        """End the kernel and wait for its end, for `Settings.stop_grace_s` at the longest: a kernel
        that is busy for longer ends when it next looks. Nothing more can be read. Idempotent.

        Raises:
            RuntimeError: the session belongs to another event loop, which is not closed.
        """
        if os.getpid() == self._pid:
            await self._queued.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
