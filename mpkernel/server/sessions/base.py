"""`BaseSession`: what all kinds of sessions have in common: number, windows, sending to the host.

A subclass receives what arrives (`SessionEvents`): `QueuedSession` keeps messages until its client
reads them; marimo's backend sends them on to a page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from mpkernel.errors import HostUnresponsive, MPKernelError, SessionClosed, SettingsError
from mpkernel.logs import get_logger
from mpkernel.server.sessions.app_and_host import AppOfSession, HostOfSession
from mpkernel.server.sessions.copies import Copies
from mpkernel.server.sessions.events import SessionEvents
from mpkernel.server.sessions.journal import Journal, running_of
from mpkernel.server.sessions.outbox import Outbox
from mpkernel.server.sessions.progress import CommandProgress
from mpkernel.server.sessions.recovery_record import RecoveryRecord
from mpkernel.server.sessions.traffic import SessionTraffic
from mpkernel.wire.frames import Channel, Frame, Message, cost_of, encode_header
from mpkernel.wire.messages import StopKernel, encode

__all__ = ["BaseSession"]

logger = get_logger(__name__)


class BaseSession(SessionEvents):
    """A session as its app and its host know it.

    There are two windows. The bytes that were sent to the kernel, and that it has not yet taken,
    are bounded here: `send` keeps what has no room, and refuses when that is too much. The bytes
    that came from the kernel, and that the client has not yet taken, are bounded in the host, which
    `taken` tells of what was taken.

    A session with a journal outlives its process. While it waits for the next process, the journal
    alone keeps what is sent.

    Args:
        app: the app that it is a session of.
        session_id: the client's name for the session.
        journal: brings it back after a death of its process. Default: it does not come back.

    Attributes:
        app: as given.
        session_id: as given.
        host: the app host that it is on; None while it waits for one.
        number: its number on the wire, given by the host.
        thread: the ident of the kernel's thread there; None until it runs.
        acted_at: when the client last sent something; `time.monotonic()`.
        record: what is remembered of its recoveries.
        copies: the copy of it on the disk, if there is one. Used under the lock.

    Raises:
        SettingsError: `session_id` cannot be written in UTF-8, so a host cannot be told of it.
        TypeError: `session_id` is not a string.
    """

    def __init__(
        self, app: AppOfSession[BaseSession], session_id: str, journal: Journal | None = None
    ) -> None:
        if not isinstance(session_id, str):
            raise TypeError(f"session_id must be a string, not {session_id!r}")
        try:
            session_id.encode()
        except UnicodeEncodeError:
            raise SettingsError(
                f"session_id is {session_id!r}, which UTF-8 cannot express",
                remedy="choose another name for the session",
            ) from None
        self.app = app
        self.session_id = session_id
        self.host: HostOfSession[BaseSession] | None = None
        self.number = 0
        self.thread: int | None = None
        self.acted_at = self._opened_at = time.monotonic()
        self.record = RecoveryRecord()
        self.copies = Copies(self.kept, app.path, session_id)
        self._journal = journal
        self._max_frame_bytes = app.settings.max_frame_bytes
        self._lock = threading.RLock()  # guards all below, the journal and the host
        self._progress = CommandProgress(self.session_id)
        self._outbox = Outbox(
            app.settings.window_bytes, app.settings.backlog_bytes, self._on_settled
        )
        self._over = False
        self._is_stopped = False

    @property
    def over(self) -> bool:
        """Whether the session was closed, or its kernel has ended, or its process has ended and the
        session does not come back."""
        return self._over

    @property
    def holds_its_name(self) -> bool:
        """Whether no other session of the app may have the same name: this one has not ended, and
        nobody has closed it."""
        return not (self._over or self._is_stopped)

    @property
    def is_running(self) -> bool:
        """Whether the kernel runs a command, as far as it says."""
        return self._progress.is_running

    @property
    def running_since(self) -> float | None:
        """When the kernel began the command that it runs; None if it runs none."""
        return self._progress.running_since

    @property
    def traffic(self) -> SessionTraffic:
        """The commands and bytes that are under way. From any thread."""
        with self._lock:
            running = running_of(self._journal)
            outbox = self._outbox
            return SessionTraffic(
                self._progress.done, running, outbox.outstanding_bytes, outbox.waiting_bytes
            )

    @property
    def outstanding_bytes(self) -> int:
        """The bytes that were sent and that the kernel has not yet taken. From any thread."""
        return self._outbox.outstanding_bytes

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether the session can outlive its process."""
        return self._journal is not None

    def kept(self) -> bytes | None:
        """What the journal keeps for another server; see `Journal.kept`. From any thread."""
        with self._lock:
            return None if self._journal is None else self._journal.kept()

    def send(self, channel: Channel, payload: bytes, command: object = None) -> None:
        """Send bytes to the kernel, from any thread. Never waits; messages keep their order.

        Args:
            channel, payload: what is sent.
            command: what the journal is told of it. Default: the payload.

        Raises:
            SessionClosed: the session is over.
            HostUnresponsive: so many bytes wait for the kernel that window and backlog have no more
                room; or the session waits for a process, and its journal has no more room.
            ProtocolError: the payload is over the maximum size.
        """
        with self._lock:
            if self._over:
                raise SessionClosed(
                    f"session {self.session_id} of {self.app.name} is over",
                    remedy="open a new session",
                )
            outbox = self._outbox
            keep = outbox.must_wait(len(payload))
            if keep and outbox.is_clogged(len(payload), self.host):
                raise HostUnresponsive(
                    f"the kernel of session {self.session_id} of {self.app.name} takes no"
                    f" input: {outbox.waiting_bytes} bytes wait for it",
                    remedy="wait until it answers again, or close the session",
                )
            if keep or self.host is None:  # a kept message cannot be refused later: check it now
                encode_header(channel, 0, len(payload), max_frame_bytes=self._max_frame_bytes)
            told = payload if command is None else command
            if self.host is None and self._journal is not None:
                self._check_room(self._journal, channel, told)
            self.acted_at = time.monotonic()
            if self.host is not None and not keep:
                outbox.send(self.host, self.number, channel, payload)
            if self._journal is not None:
                self._journal.sent(channel, told)
            self.copies.changed(by_client=True)
            if self.host is not None and keep:
                outbox.keep(Message(channel, payload))

    def taken(self, count: int) -> None:
        """Say that the client took messages, from any thread.

        Args:
            count: their bytes, with `MESSAGE_COST_BYTES` for each.
        """
        with self._lock:
            host, number = self.host, self.number
            if self._over or host is None:
                return
        host.taken(number, count)

    def stop(self, *, patience_s: float = 0.0, may_come_back: bool = False) -> None:
        """Ask the kernel to end, from any thread. What it still sends is delivered.

        Args:
            patience_s: how long its present command may go on before it is interrupted.
            may_come_back: whether its copy on the disk stays.
        """
        with self._lock:
            self.copies.end(may_come_back=may_come_back)
            self._journal = None  # the session must not come back
            self._is_stopped = True
            self.app.session_closed(self)
            if self._over:
                return
            if self.host is not None:
                self.host.send(Channel.MANAGEMENT, self.number, encode(StopKernel(patience_s)))
                return
        self.app.forget(self)

    def credited(self, count: int) -> None:
        """Called by the host: the kernel took `count` bytes."""
        with self._lock:
            self._outbox.credited(count, self.host, self.number)

    def created(self, thread: int) -> None:
        """Called by the host: the kernel's thread runs. `thread` is its ident there."""
        self.thread = thread
        self.record.failed_starts = 0
        if not self.record.has_run:
            self.record.has_run = True
            self.app.tallies.session_start.observe(time.monotonic() - self._opened_at)
        if self.record.settled_after == 0:  # no command will run that would report it
            self.record.settle()

    def progressed(self, begun: int, done: int) -> None:
        """Called by the host: the kernel has begun and done so many commands.

        Raises:
            ProtocolError: these numbers are impossible.
        """
        with self._lock:
            self._progress.check(begun, done)
            if self._journal is not None:
                self._journal.progressed(begun, done)
            self.copies.changed(by_client=False)
            self._progress.advance(begun, done)
        self.record.progressed(begun, done)

    def received(self, messages: Sequence[Frame]) -> None:
        """Called by the host: messages arrived."""
        if self._over:  # the session has failed; its kernel does not know that yet
            self.taken(cost_of(messages))
            return
        if self._journal is not None:
            with self._lock:
                if self._journal is not None:
                    for message in messages:
                        self._journal.received(message.payload)
        self.on_messages(messages)

    def suspend(self) -> None:
        """Called by the host: it has ended. From now on the journal keeps what is sent."""
        with self._lock:
            self.host = None
            self._outbox.clear()
        self.record.suspended_at = time.monotonic()
        self.record.end_rebuild()

    def resume(
        self, host: HostOfSession[BaseSession], *, without_running: bool, alone: bool
    ) -> tuple[str, ...]:
        """Called by the app: come back on another host. Returns what does not come back, in words.

        Raises:
            SessionClosed: the session was closed meanwhile.
        """
        with self._lock:
            if self._journal is None:
                raise SessionClosed(f"session {self.session_id} of {self.app.name} was closed")
            rebuilt = self._journal.rebuild(without_running=without_running)
            self.thread = None
            self._progress = CommandProgress(self.session_id)
            self.record.rebuilding(rebuilt.commands, alone=alone)
            host.open(self, rebuilt.kernel)
            for channel, payload in rebuilt.messages:
                self._outbox.send(host, self.number, channel, payload, refusable=False)
            return rebuilt.lost

    def end(self, error: MPKernelError | None, *, is_at_fault: bool = False) -> None:
        """Called by the app: the session is over.

        Args:
            error: why it ended; None means that the kernel returned.
            is_at_fault: whether the session was the cause. Default: it may come back later.
        """
        with self._lock:
            if self._over:
                return
            self._over = True
            self.app.session_closed(self)
            self._outbox.clear()
            has_values = self.record.has_values
            self.copies.end_with(error, is_at_fault=is_at_fault, has_values=has_values)
        try:
            self.on_end(error)
        except Exception:  # other sessions must still be ended after this one
            logger.exception(
                "a client could not be told that its session is over",
                app=self.app.path,
                session=self.session_id,
            )
        finally:
            self.record.end_rebuild()

    def fail(self, error: MPKernelError) -> None:
        """Called when the server itself has failed while it handled something of this session: end
        the session and its kernel. On the loop's thread."""
        try:
            with self._lock:
                self.copies.end(may_come_back=False)
                self._journal = None
                if self.host is not None and not self._over:
                    self.host.send(Channel.MANAGEMENT, self.number, encode(StopKernel()))
        finally:
            self.end(error)

    def _check_room(self, journal: Journal, channel: Channel, command: object) -> None:
        if journal.has_room(channel, command):
            return
        raise HostUnresponsive(
            f"session {self.session_id} of {self.app.name} waits for a process, and what is sent"
            f" meanwhile fills its journal (journal_bytes is {self.app.settings.journal_bytes})",
            remedy="send it again when the app runs, or raise journal_bytes",
        )

    def _on_settled(self, count: int) -> None:
        self.app.tallies.kernel_input_bytes += count
