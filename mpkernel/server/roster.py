"""`Roster`: the sessions on one host, by their numbers on the wire."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Sequence

from mpkernel.errors import KernelFailed
from mpkernel.server.session_link import SessionLink
from mpkernel.wire.frames import Channel, Frame
from mpkernel.wire.messages import Credit, KernelCreated, KernelExited, Running

__all__ = ["Roster"]

logger = logging.getLogger(__name__)

_CREDIT_FLUSH_S = 0.05
_MANAGEMENT = Channel.MANAGEMENT  # an enumeration's attribute costs more than the comparison


class Roster:
    """Gives numbers out, hands each session what is its own, and takes it off at its kernel's end.
    A number that was not given out is dropped.

    Args:
        app: absolute path of the app's file, for logs.
        loop: the running loop.
        on_exit: called when the kernel of the session of this number has ended, and the session
            was taken off; before the session is told.
    """

    def __init__(
        self, app: str, loop: asyncio.AbstractEventLoop, on_exit: Callable[[int], None]
    ) -> None:
        self._app = app
        self._loop = loop
        self._on_exit = on_exit
        self._numbers = itertools.count(1)
        self._sessions: dict[int, SessionLink] = {}  # single dict operations, each one atomic
        self._owing: set[SessionLink] = set()  # guarded by _owing_lock
        self._owing_lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def sessions(self) -> list[SessionLink]:
        """Those whose kernels have not ended."""
        return list(self._sessions.values())

    def add(self, session: SessionLink) -> None:
        """Give the session its number. From any thread."""
        session.number = next(self._numbers)
        self._sessions[session.number] = session

    def get(self, number: int) -> SessionLink | None:
        """The session of this number."""
        return self._sessions.get(number)

    def take_all(self) -> list[SessionLink]:
        """Take all sessions off."""
        sessions = self.sessions
        self._sessions.clear()
        return sessions

    def received(self, frames: Sequence[Frame], on_news: Callable[[int, bytes], None]) -> None:
        """Frames arrived: messages for sessions' clients, and management messages.

        Args:
            frames: as they arrived.
            on_news: called with each management message: the session's number and the payload.
        """
        sessions = self._sessions
        for frame in frames:
            if frame.channel is _MANAGEMENT:
                on_news(frame.session, frame.payload)
            elif (session := sessions.get(frame.session)) is not None:
                session.received(frame.channel, frame.payload)
            else:
                logger.debug(
                    "dropped output of no session app=%s number=%d", self._app, frame.session
                )

    def news(self, number: int, message: KernelCreated | KernelExited | Running | Credit) -> None:
        """News of a session's kernel arrived."""
        session = self._sessions.get(number)
        if session is None:
            logger.debug("dropped news of no session app=%s number=%d", self._app, number)
            return
        match message:
            case KernelCreated():
                session.created(message.thread)
            case Credit():
                session.credited(message.bytes)
            case Running():
                session.progressed(message.begun, message.done)
            case KernelExited():
                del self._sessions[number]
                self._on_exit(number)
                session.end(None if message.error is None else _failure(session, message.error))

    def owe_credit(self, session: SessionLink) -> None:
        """Have the session's withheld credit sent soon. From any thread."""
        with self._owing_lock:
            first = not self._owing
            self._owing.add(session)
        if first:
            self._loop.call_soon_threadsafe(self._pay_credits_later)

    def _pay_credits_later(self) -> None:
        self._loop.call_later(_CREDIT_FLUSH_S, self._pay_credits)

    def _pay_credits(self) -> None:
        with self._owing_lock:
            owing, self._owing = self._owing, set()
        for session in owing:
            session.pay_credit()


def _failure(session: SessionLink, error: str) -> KernelFailed:
    return KernelFailed(
        f"the kernel of session {session.session_id} of {session.app.name} failed:\n{error}"
    )
