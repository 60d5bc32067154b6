"""`Incoming`: takes the messages of a process, and hands each to its receiver.

    Link ─frames─▶ HostLimits ─▶ SessionTable ─▶ sessions' clients
                     │           └─news─▶ files · console · Health · Departure
                     └─ ProtocolError: the process is ended

`host` sends to the process; `host_limits` says what the process may send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mpkernel.errors import (
    ClusterError,
    ConfinementError,
    HostStartError,
    KernelFailed,
    ProtocolError,
    SandboxError,
    UnfitPython,
)
from mpkernel.logs import get_logger
from mpkernel.server.hosts.announced_files import AnnouncedFiles
from mpkernel.server.hosts.credits import Credits
from mpkernel.server.hosts.departure import Departure
from mpkernel.server.hosts.health import Health
from mpkernel.server.hosts.host_limits import HostLimits
from mpkernel.server.hosts.session_table import SessionTable
from mpkernel.server.launching.process import Process
from mpkernel.server.links.host_console import HostConsole
from mpkernel.server.links.link import Link, LinkEvents
from mpkernel.server.sessions.app_and_host import AppOfSession
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.tallies import Traffic
from mpkernel.wire.before_host import (
    Hello,
    NotConfined,
    NotPlaced,
    NotPrepared,
    Prepared,
    Preparing,
    UnfitForHost,
)
from mpkernel.wire.frames import Channel, Frame, FrameLost
from mpkernel.wire.messages import (
    Credit,
    FileRemoved,
    FilesFreed,
    FileStored,
    KernelCreated,
    KernelExited,
    Pong,
    Ready,
    Running,
    ShortOfMemory,
    WantConsole,
    WantDrain,
    Warmed,
    decode_up,
    encode,
)
from shm import Registry, ShmError
from shm.names import tag_of

__all__ = ["Incoming"]

logger = get_logger(__name__)

_LINE_CHARS = 500
"""How much of a line about an environment that is made reaches a page."""


class Incoming:
    """What comes from one host. On the loop's thread.

    Args:
        app: absolute path of the app's file.
        process: the host's process.
        health: is told of answers to pings, and when the process breaks the protocol.
        departure: is told that the process is ready, and that it wants to leave.
        table: its sessions.
        registry: where its virtual files are registered.
        loop: the running loop.
        on_shortage: called when the process has found no shared memory.

    Attributes:
        link: its Pipes.
        files: its virtual files.
        credits: tells the process what its sessions' clients took.
        console: sends the process its own console output, for its sessions.

    Raises:
        OSError: its Pipes cannot be watched.
    """

    def __init__(
        self,
        app: AppOfSession[BaseSession],
        process: Process,
        health: Health,
        departure: Departure,
        table: SessionTable,
        registry: Registry,
        loop: asyncio.AbstractEventLoop,
        on_shortage: Callable[[], None],
    ) -> None:
        settings = app.settings
        self._app = app.path
        self._name = app.name
        self._pid = process.pid
        self._process = process
        self._health = health
        self._departure = departure
        self._on_shortage = on_shortage
        self._table = table
        self._is_refused = False
        self.files = AnnouncedFiles(
            registry,
            tag_of(process.pid),
            loop,
            self._tell_freed,
            process.elsewhere,
            app=app.path,
            mapped_age_s=settings.recycled_files_age_s,
        )
        self.files.come_from(process.host_tag)
        self.link: Link = process.connect(
            app.name,
            loop,
            LinkEvents(self._on_frames, health.condemn, self._on_lost, health.hung_up),
            backlog_bytes=settings.backlog_bytes,
            max_frame_bytes=settings.max_frame_bytes,
        )
        self.limits = HostLimits(
            self.link,
            table,
            window_bytes=settings.window_bytes,
            host_window_bytes=settings.host_window_bytes,
            max_frame_bytes=settings.max_frame_bytes,
        )
        self.credits = Credits(loop, self.limits, self._tell_credit, self.link.hold)
        self.console = HostConsole(app.name, self.link)

    @property
    def traffic(self) -> Traffic:
        """What was sent over the Pipes."""
        limits = self.limits
        return Traffic(limits.frame_count, self.link.sent_count, limits.output_bytes)

    def hear_out(self) -> bool:
        """The process has ended: take in its last messages. Returns whether that is done. If it is
        not, the loop's turn had no more time for it: call this again in a later turn."""
        try:
            return self.link.drain()
        except Exception:
            logger.exception(
                "the last messages of a process are lost", app=self._app, pid=self._pid
            )
            return True

    def session_ended(self, number: int) -> None:
        """The session of this number was removed from the table: release its files and credits."""
        self.credits.forget(number)
        self.files.release_session(number)

    def abandon(self) -> None:
        """Take in nothing more, and forget the process's files."""
        try:
            self.link.close()
        finally:
            self.files.release_host()

    def _on_frames(self, frames: list[Frame]) -> None:
        if not frames or self._is_refused:
            return
        self.limits.arriving(frames)
        self._table.received(frames, self._on_news)
        self.limits.arrived()

    def _on_news(self, number: int, payload: bytes) -> None:
        if self._is_refused:  # a message before has ended the host: start no session on it
            return
        message = decode_up(payload)
        self.limits.managed(payload)
        match message:
            case Preparing():
                self.limits.preparing()
                elsewhere = self._process.elsewhere
                is_placed = elsewhere is None or elsewhere.far_pid is not None
                self._departure.preparing(is_placed=is_placed)
                self._table.tell_of_preparation(message.text[:_LINE_CHARS], is_placed=is_placed)
            case Prepared():
                self.limits.preparing()
                self._departure.prepared()
                self._table.tell_of_preparation(None, is_placed=True)
            case NotPrepared():
                self.limits.preparing()
                self._health.end_for(
                    Reason.ENVIRONMENT,
                    SandboxError(self._there(message.what), remedy=message.remedy),
                )
            case NotPlaced():
                # There may be a worker soon: the start is tried again, after longer and longer
                # waits.
                self._refuse(ClusterError(message.what, remedy=message.remedy), Reason.START)
            case UnfitForHost():
                self._refuse(UnfitPython(self._there(message.what), remedy=message.remedy))
            case NotConfined():
                self._refuse(ConfinementError(self._there(message.what), remedy=message.remedy))
            case Hello():
                self._on_hello(message)
            case Ready():
                self.limits.ready()
                self._departure.became_ready()
            case Pong():
                self._health.ponged(message.number)
            case FileStored():
                self._on_file_stored(number, message)
            case FileRemoved():
                self.files.removed(message.key)
            case ShortOfMemory():
                self._on_shortage()
            case WantConsole():
                self.console.want()
            case WantDrain():
                self._departure.wanted(message.reason)
            case KernelCreated() | KernelExited() | Running() | Credit():
                self._table.news(number, message)
            case Warmed():
                raise ProtocolError("it says that it is warm, and has an app already")

    def _on_hello(self, hello: Hello) -> None:
        error = self._process.accept(hello)
        if error is not None:
            self._refuse(error)
            return
        self.files.come_from(self._process.host_tag)
        self._health.found(self._process.host_pid)
        logger.debug("Python %s", hello.python, app=self._app, pid=self._pid)

    def _there(self, what: str) -> str:
        """How errors name a process that is not a host yet: with its machine, if that is another
        one."""
        elsewhere = self._process.elsewhere
        return what if elsewhere is None else f"the worker {elsewhere.where}: {what}"

    def _refuse(self, error: HostStartError, reason: Reason = Reason.ENVIRONMENT) -> None:
        self._is_refused = True
        self._health.end_for(reason, error)

    def _on_file_stored(self, number: int, message: FileStored) -> None:
        session = self._table.get(number)
        try:
            self.files.stored(number, message)
        except (ShmError, ValueError) as error:
            if isinstance(error, ValueError):
                self.limits.forged(error)
            if self.limits.refused():
                logger.warning("virtual file refused: %s", error, app=self._app, pid=self._pid)
            if session is not None:
                session.on_file_refused(error)

    def _tell_credit(self, number: int, credit: Credit) -> None:
        self.link.send(Channel.MANAGEMENT, number, encode(credit))

    def _tell_freed(self, keys: list[str]) -> None:
        try:
            self.limits.freed(len(keys))
        except ProtocolError as error:
            self._health.condemn(error)
        else:
            self.link.send(Channel.MANAGEMENT, 0, encode(FilesFreed(keys)))

    def _on_lost(self, lost: FrameLost) -> None:
        """Output of a session was too large for the server's memory: that session ends."""
        self.limits.lost(lost.payload_bytes)
        if lost.channel is Channel.MANAGEMENT:
            self._health.condemn(lost)
            return
        session = self._table.get(lost.session)
        if session is None:
            return
        logger.warning(
            "session ended: %s", lost, app=self._app, session=session.session_id, pid=self._pid
        )
        session.stop()
        session.end(
            KernelFailed(
                f"session {session.session_id} of {self._name}: {lost.what} of the server",
                remedy="send less at once, or give the server more memory",
            )
        )
