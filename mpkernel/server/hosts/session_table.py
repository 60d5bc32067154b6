"""`SessionTable`: the sessions on one host, by their numbers on the wire."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from mpkernel.errors import KernelFailed, ProtocolError
from mpkernel.logs import get_logger
from mpkernel.server.hosts.load import Load
from mpkernel.server.sessions.base import BaseSession
from mpkernel.wire.frames import Channel, Frame, cost_of
from mpkernel.wire.messages import Credit, KernelCreated, KernelExited, Running

__all__ = ["SessionTable"]

logger = get_logger(__name__)

_MOST_OF_A_TRACEBACK = 64 * 1024
_MANAGEMENT = Channel.MANAGEMENT  # each look-up would cost more than the comparison


class SessionTable:
    """Gives each session a number, hands it the messages with that number, and removes it when its
    kernel has ended. Messages for a session that has ended are dropped. If the host uses a number
    that was never given to a session, that ends the host.

    Args:
        app: absolute path of the app's file, for logs.
        loop: the running loop.
        on_exit: called with a session's number when its kernel has ended and the session was
            removed, before the session is told.
        on_failed_start: called with a session whose kernel could not be started, and the reason, if
            the session had run elsewhere before and can be started again. It was removed.

    Attributes:
        load: how many of the sessions compute.
        forgiven_bytes: how many bytes came for sessions that have ended, and were not taken by
            their clients.
    """

    def __init__(
        self,
        app: str,
        loop: asyncio.AbstractEventLoop,
        on_exit: Callable[[int], None],
        on_failed_start: Callable[[BaseSession, KernelFailed], None],
    ) -> None:
        self._app = app
        self._loop = loop
        self._on_exit = on_exit
        self._on_failed_start = on_failed_start
        self.load = Load(loop.time)
        self.forgiven_bytes = 0
        self._last_number = 0
        self._sessions: dict[int, BaseSession] = {}  # single dict operations, each one atomic
        self._lock = threading.Lock()  # guards _last_number
        self._preparation: tuple[str, bool] | None = None  # what `tell_of_preparation` told last

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def sessions(self) -> list[BaseSession]:
        """The sessions whose kernels have not ended."""
        return list(self._sessions.values())

    def add(self, session: BaseSession) -> None:
        """Give the session its number. From any thread."""
        with self._lock:
            self._last_number += 1
            session.number = self._last_number
        self._sessions[session.number] = session
        self.load.opened(session.number)

    def remove(self, session: BaseSession) -> None:
        """The host was not told of this session: remove it again."""
        del self._sessions[session.number]
        self.load.ended(session.number)

    def get(self, number: int) -> BaseSession | None:
        """The session of this number; None for one that has ended, and for the host itself.

        Raises:
            ProtocolError: no session ever had this number.
        """
        session = self._sessions.get(number)
        if session is None and number > self._last_number:
            raise ProtocolError(f"it speaks of session {number}, of {self._last_number} there were")
        return session

    def take_all(self) -> list[BaseSession]:
        """Remove all sessions, and return them."""
        sessions = self.sessions
        self._sessions.clear()
        self.load = Load(self._loop.time)
        return sessions

    def received(self, frames: Sequence[Frame], on_news: Callable[[int, bytes], None]) -> None:
        """Frames arrived: messages for sessions' clients, and management messages.

        Args:
            frames: as they arrived.
            on_news: called with each management message: the session's number and the payload.
        """
        number, run = 0, []  # messages of one session that follow one another
        for frame in frames:
            is_management = frame.channel is _MANAGEMENT
            if frame.session == number and not is_management:
                run.append(frame)
                continue
            if run:
                self._hand_over(number, run)
            if is_management:
                run = []
                on_news(frame.session, frame.payload)
            else:
                number, run = frame.session, [frame]
        if run:
            self._hand_over(number, run)

    def news(self, number: int, message: KernelCreated | KernelExited | Running | Credit) -> None:
        """News of a session's kernel arrived."""
        session = self.get(number)
        if session is None:
            logger.debug("dropped news of no session number=%d", number, app=self._app)
            return
        try:
            match message:
                case KernelCreated():
                    self.load.created(number)
                    session.created(message.thread)
                case Credit():
                    session.credited(message.bytes)
                case Running():
                    session.progressed(message.begun, message.done)
                    self.load.progressed(number, message.begun, message.done)
                case KernelExited():
                    self._exited(session, message)
        except ProtocolError:  # the host's fault
            raise
        except Exception as error:  # noqa: BLE001 (`_fail` logs it)
            self._fail(session, error)

    def tell_of_preparation(self, text: str | None, *, is_placed: bool) -> None:
        """Tell the sessions what the process does before it is a host: it makes the app's
        environment, or waits for a machine. None: it has done so.

        Args:
            text: a line for people.
            is_placed: whether the process was launched on its machine.
        """
        self._preparation = None if text is None else (text, is_placed)
        for session in self.sessions:
            try:
                if text is None:
                    session.on_prepared()
                else:
                    session.on_preparing(text, is_placed=is_placed)
            except Exception as error:  # noqa: BLE001 (`_fail` logs it)
                self._fail(session, error)

    def joined(self, session: BaseSession) -> None:
        """The host was told of this session. Tell the session what the process does before it is a
        host, if it does that now; see `tell_of_preparation`."""
        if self._preparation is None:
            return
        text, is_placed = self._preparation
        try:
            session.on_preparing(text, is_placed=is_placed)
        except Exception as error:  # noqa: BLE001 (`_fail` logs it)
            self._fail(session, error)

    def _hand_over(self, number: int, messages: Sequence[Frame]) -> None:
        session = self._sessions.get(number)
        if session is None:
            self._drop(number, messages)
            return
        try:
            session.received(messages)
        except ProtocolError:  # the host's fault
            raise
        except Exception as error:  # noqa: BLE001 (`_fail` logs it)
            self._fail(session, error)

    def _exited(self, session: BaseSession, exited: KernelExited) -> None:
        del self._sessions[session.number]
        self.load.ended(session.number)
        self.forgiven_bytes += session.unread_bytes
        try:
            self._on_exit(session.number)
        finally:
            failure = None if exited.error is None else _failure(session, exited.error)
            is_innocent = failure is None or exited.never_ran or session.record.is_innocent
            if (
                failure is not None
                and exited.never_ran
                and session.can_be_rebuilt
                and session.record.start_failed()
            ):
                logger.warning("%s", failure, app=self._app)
                session.suspend()
                self._on_failed_start(session, failure)
            else:
                session.end(failure, is_at_fault=not is_innocent)

    def _fail(self, session: BaseSession, error: Exception) -> None:
        """The server itself failed on a message for this session: end this session alone."""
        logger.exception(
            "a session ends: the server failed on what its kernel sent",
            app=self._app,
            session=session.session_id,
            exc_info=error,
        )
        session.fail(
            KernelFailed(
                f"session {session.session_id} of {session.app.name}: the server failed on what"
                f" its kernel sent: {error!r}",
                remedy="open a new session; the server's log says more",
            )
        )

    def _drop(self, number: int, messages: Sequence[Frame]) -> None:
        if number == 0:
            raise ProtocolError("it sends output of no session")
        self.get(number)
        self.forgiven_bytes += cost_of(messages)
        logger.debug("dropped output of no session number=%d", number, app=self._app)


def _failure(session: BaseSession, error: str) -> KernelFailed:
    return KernelFailed(
        f"the kernel of session {session.session_id} of {session.app.name} failed:\n"
        + error[-_MOST_OF_A_TRACEBACK:]
    )
