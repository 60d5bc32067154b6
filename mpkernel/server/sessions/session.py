"""`Session`: what a client of a kernel holds: its own half of the session, and nothing of the app's
and the host's half.

    client ─▶ Session ─ send · stop · close ─▶ QueuedSession ◀─ received · created · resume … ─ host
       ▲         │                                  │
       └─────────┴──── async for: its messages ─────┘
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Self

from mpkernel.server.sessions.app_and_host import HostOfClient
from mpkernel.server.sessions.queued import QueuedSession
from mpkernel.server.sessions.traffic import SessionTraffic
from mpkernel.wire.frames import Channel, Message

__all__ = ["Session"]


class Session:
    """A client's end of a kernel, for asyncio. `HostPool.open_session` opens one.

        async with await pool.open_session("app.py", kernel=spec) as session:
            session.send(Channel.CONTROL, b"hello")
            async for channel, payload in session: ...

    One task iterates at a time. What it has not taken counts against the session's window
    (`Settings.window_bytes`): a client that does not read holds its own kernel's output back, and
    nothing else. Leaving `async with` closes the session.

    Args:
        queued: the session as its app and its host know it.
    """

    def __init__(self, queued: QueuedSession) -> None:
        self._queued = queued

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
        """Whether the kernel ended, or its process for good. Messages may still wait to be read."""
        return self._queued.over

    @property
    def traffic(self) -> SessionTraffic:
        """What is under way: commands that were done and the one that runs, as far as the journal
        knows, and the bytes that the kernel has not taken. From any thread."""
        return self._queued.traffic

    def send(self, channel: Channel, payload: bytes, command: object = None) -> None:
        """Send bytes to the kernel, from any thread. Never waits. Messages keep their order,
        whatever their channel.

        Args:
            channel: what the payload is for; see `Channel`.
            payload: at most `Settings.max_frame_bytes` long, less 5 bytes.
            command: what the session's journal is told of it. Default: the payload.

        Raises:
            SessionClosed: the session is over.
            HostUnresponsive: the kernel is behind by more than `Settings.window_bytes` and
                `Settings.backlog_bytes`; or the session waits for a process, and its journal has no
                room for what is sent meanwhile.
            ProtocolError: the payload is too long.
        """
        self._queued.send(channel, payload, command)

    def __aiter__(self) -> QueuedSession:
        return self._queued  # each message then costs one call less

    def __anext__(self) -> Awaitable[Message]:
        """The next message, for `await anext(session)`.

        Raises:
            StopAsyncIteration: the kernel has returned, or the session was closed.
            KernelFailed: the kernel ended with an exception.
            HostDied: its process ended, and the session cannot come back, or ended it again.
            AppUnavailable: its process ended, and the app has died too often to be started again.
            PoolClosed: the pool was closed.
        """
        return self._queued.__anext__()

    def stop(self, *, patience_s: float = 0.0) -> None:
        """Ask the kernel to end, from any thread, and return at once. What it still sends can be
        read; the iteration ends with it.

        Args:
            patience_s: how many seconds its present command may go on before it is interrupted.
        """
        self._queued.stop(patience_s=patience_s)

    async def close(self) -> None:
        """End the kernel and wait for its end, for `Settings.stop_grace_s` at the longest: a kernel
        that is busy for longer ends when it next looks. Nothing more can be read. Idempotent."""
        await self._queued.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
