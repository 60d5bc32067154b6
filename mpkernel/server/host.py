"""`AppHost`: one app's process, the state it is in and the sessions on it.

What the operating system does is `process`'s, what crosses the Pipes `link`'s, which state may
follow which `lifecycle`'s, which host a session lands on `pool`'s. Here they meet.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mpkernel.aio.tasks import supervised_task
from mpkernel.errors import (
    HostDied,
    HostStartError,
    KernelFailed,
    MPKernelError,
    PoolClosed,
    ProtocolError,
)
from mpkernel.server.console import HostConsole
from mpkernel.server.deaths import Death, Reason, reason_of
from mpkernel.server.endings import oom_kills
from mpkernel.server.files import AnnouncedFiles
from mpkernel.server.lifecycle import Event, Lifecycle, State
from mpkernel.server.link import Link
from mpkernel.server.process import HostProcess
from mpkernel.server.relay import ConsoleRelay, ConsoleTail
from mpkernel.server.session import SessionLink
from mpkernel.server.standby import Standby
from mpkernel.server.verdicts import Action, HostWatch, Verdict
from mpkernel.server.watchdog import Watchdog
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel, Frame
from mpkernel.wire.messages import (
    CreateKernel,
    Credit,
    FileRemoved,
    FilesFreed,
    FileStorage,
    FileStored,
    KernelCreated,
    KernelExited,
    Ping,
    Pong,
    Ready,
    Running,
    Setup,
    Shutdown,
    Stopping,
    WantConsole,
    WantDrain,
    decode_up,
    encode,
)
from shm import Registry, ShmError
from shm.names import tag_of

__all__ = ["AppHost"]

if TYPE_CHECKING:
    from mpkernel.server.app import App

logger = logging.getLogger(__name__)

_CREDIT_FLUSH_S = 0.05
_LAST_LINES_S = 0.2


class AppHost:
    """A live app host. Made and started on the loop's thread; `send` and `open` from any.

    Args:
        owner: the app; it is told of the process's end, on the loop's thread.
        loop: the running loop.
        relay: where its console output goes.
        files: where its virtual files are registered.
        watchdog: what looks after its process.
        standby: where a warm process may be had.

    Attributes:
        app: absolute path of the app's file.
        name: its short name, for messages.
        settings: the app's.
        refusal: why it takes no new sessions although it lives; None when it does.
    """

    def __init__(
        self,
        owner: App,
        loop: asyncio.AbstractEventLoop,
        relay: ConsoleRelay,
        files: Registry,
        watchdog: Watchdog[AppHost],
        standby: Standby,
    ) -> None:
        self.app = owner.path
        self.name = owner.name
        self.settings = owner.settings
        self.refusal: str | None = None
        self._owner = owner
        self._loop = loop
        self._relay = relay
        self._watchdog = watchdog
        self._watch: HostWatch | None = None
        self._standby = standby
        self._registry = files
        self._files: AnnouncedFiles | None = None
        self._life = Lifecycle()
        self._numbers = itertools.count(1)
        self._sessions: dict[int, SessionLink] = {}  # single dict operations, each one atomic
        self._owing: set[SessionLink] = set()  # guarded by _owing_lock
        self._owing_lock = threading.Lock()
        self._process: HostProcess | None = None
        self._link: Link | None = None
        self._console: HostConsole | None = None
        self._tail: ConsoleTail | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fault: tuple[Reason, MPKernelError] | None = None
        self._oom_kills_before = oom_kills()
        self._tail_ended = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def state(self) -> State:
        """Where the host stands in its life."""
        return self._life.state

    @property
    def takes_sessions(self) -> bool:
        """Whether a new session may be opened here."""
        return self._life.takes_sessions

    @property
    def is_alive(self) -> bool:
        """Whether the process is starting or running."""
        return not self._life.is_over

    @property
    def pid(self) -> int | None:
        """The process's id; None before the launch."""
        return self._process.pid if self._process is not None else None

    @property
    def session_count(self) -> int:
        """Sessions whose kernels have not ended."""
        return len(self._sessions)

    @property
    def running_count(self) -> int:
        """Sessions whose kernels run a command, as far as they say."""
        return sum(session.is_running for session in list(self._sessions.values()))

    def start(self, *, argv: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        """Launch the process, or adopt a standby; return at once. Sessions may be opened from then
        on.

        Raises:
            HostStartError: the operating system refused.
        """
        process = self._standby.take(self.app) if env is None else None
        if process is None:
            process = HostProcess.launch(f"mpkernel {self.name}", env=env)
        self._process = process
        self._files = AnnouncedFiles(
            self._registry,
            tag_of(process.pid),
            self._loop,
            self._tell_freed,
            mapped_age_s=self.settings.recycled_files_age_s,
        )
        try:
            self._connect(process, argv)
        except BaseException:
            process.close()
            process.close_console()
            raise
        self._watch = self._watchdog.watch(self, process.pid)
        logger.info("host started app=%s pid=%d", self.app, process.pid)

    def open(self, session: SessionLink, kernel: KernelSpec) -> None:
        """Have the host start a kernel for `session`. Messages may be sent to it at once."""
        session.host = self
        session.number = next(self._numbers)
        self._sessions[session.number] = session
        create = CreateKernel(
            session_id=session.session_id,
            entry=kernel.entry,
            args=kernel.args,
            window_bytes=self.settings.window_bytes,
        )
        self.send(Channel.MANAGEMENT, session.number, encode(create))

    def send(
        self, channel: Channel, session: int, payload: bytes, *, refusable: bool = True
    ) -> None:
        """See `Link.send`."""
        assert self._link is not None, "a host is started before it is used"
        self._link.send(channel, session, payload, refusable=refusable)

    def owe_credit(self, session: SessionLink) -> None:
        """Have the session's withheld credit sent soon. From any thread."""
        with self._owing_lock:
            first = not self._owing
            self._owing.add(session)
        if first:
            self._loop.call_soon_threadsafe(self._pay_credits_later)

    def last_lines(self) -> list[str]:
        """The last lines that the process wrote to its console, and what faulthandler wrote."""
        if self._tail is None:
            return []
        return [*self._tail.lines(), *self._tail.faults().splitlines()]

    async def close(self) -> None:
        """Ask the process to leave, kill it after `Settings.stop_grace_s`, wait for its end.

        Safe to call twice, and to cancel: what was begun goes on.
        """
        self.leave()
        try:
            async with asyncio.timeout(self.settings.stop_grace_s):
                await self._over.wait()
        except TimeoutError:
            self.kill()
            await self._over.wait()

    def drain(self, *, patience_s: float | None = None) -> None:
        """Take no more sessions, and leave with the last. On the loop's thread; returns at once.

        Args:
            patience_s: have the sessions end with their present commands, and these be interrupted
                after so long. Default: they end when their clients close them.
        """
        if self._life.is_over:
            return
        self._life.apply(Event.DRAIN)
        if patience_s is not None:
            for session in list(self._sessions.values()):
                session.stop(patience_s=patience_s)
        self._leave_if_drained()

    @property
    def answers_pings(self) -> bool:
        """Whether its dispatcher runs."""
        return self._life.state in (State.READY, State.DRAINING)

    def ping(self, number: int) -> None:
        """Ask the process to answer."""
        self.send(Channel.MANAGEMENT, 0, encode(Ping(number)))

    def judged(self, verdict: Verdict) -> None:
        """The watchdog's: do what it says."""
        logger.warning("the process of %s %s app=%s", self.name, verdict.what, self.app)
        match verdict.action:
            case Action.REFUSE:
                self.refusal = f"its process {verdict.what}"
            case Action.ACCEPT:
                self.refusal = None
            case Action.REPLACE:
                self.drain()
            case Action.RESTART:
                what = f"the process of {self.name} {verdict.what}, and was ended"
                self.end_for(verdict.reason, HostDied(what, remedy="open the session again"))

    async def wait_over(self) -> None:
        """Wait until the process is gone."""
        await self._over.wait()

    def leave(self) -> None:
        """Leave now, with all sessions. On the loop's thread; returns at once."""
        if self._life.is_over or self._life.state is State.LEAVING:
            return
        self._life.apply(Event.LEAVE)
        self.send(Channel.MANAGEMENT, 0, encode(Shutdown()))
        self._set_timer(self.settings.stop_grace_s, self.kill)

    def end_for(self, reason: Reason, error: MPKernelError) -> None:
        """Kill the process for a reason that its sessions, and the log, shall be told."""
        if self._fault is None:
            self._fault = (reason, error)
        self.kill()

    def kill(self) -> None:
        """End the process and all that it started, now. From any thread."""
        if self._process is not None:
            self._process.kill()

    def kill_and_reap(self) -> None:
        """The same, and wait for it: for a server that leaves without its loop."""
        if self._process is not None:
            if self._console is not None:
                self._console.close()
            self._process.close()
            self._announced.sweep()

    def _connect(self, process: HostProcess, argv: Sequence[str]) -> None:
        self._link = Link(
            self.name,
            process.control,
            process.stream,
            self._loop,
            on_frame=self._on_frame,
            on_error=self._on_protocol_error,
            backlog_bytes=self.settings.backlog_bytes,
            max_frame_bytes=self.settings.max_frame_bytes,
        )
        self._console = HostConsole(self.name, self._link)
        self._loop.add_reader(process.death_fd, self._on_death)
        self._tail = self._relay.add(
            self.name,
            stdout=process.stdout,
            stderr=process.stderr,
            faults=process.faults,
            on_text=self._console.on_text,
            on_end=self._on_console_end,
        )
        setup = Setup(
            app=self.app,
            argv=[self.app, *argv],
            max_frame_bytes=self.settings.max_frame_bytes,
            host_window_bytes=self.settings.host_window_bytes,
            files=FileStorage(
                kind=self.settings.file_storage,
                fallback=self.settings.file_fallback,
                session_quota_bytes=self.settings.session_files_bytes,
                quota_bytes=self.settings.files_bytes,
                recycled_bytes=self.settings.recycled_files_bytes,
                recycled_age_s=self.settings.recycled_files_age_s,
            ),
            stopping=Stopping(
                interrupt_grace_s=self.settings.interrupt_grace_s,
                max_abandoned=self.settings.max_abandoned,
            ),
        )
        self.send(Channel.MANAGEMENT, 0, encode(setup))
        self._set_timer(self.settings.start_timeout_s, self._on_start_timeout)

    def _on_frame(self, frame: Frame) -> None:
        if frame.channel is not Channel.MANAGEMENT:
            session = self._sessions.get(frame.session)
            if session is None:
                logger.debug(
                    "dropped output of no session app=%s number=%d", self.app, frame.session
                )
                return
            session.received(frame.channel, frame.payload)
            return
        message = decode_up(frame.payload)
        match message:
            case Ready():
                self._on_ready()
            case Pong():
                if self._watch is not None:
                    self._watch.ponged(message.number)
            case FileStored():
                self._on_file_stored(frame.session, message)
            case FileRemoved():
                self._announced.removed(message.key)
            case WantConsole():
                assert self._console is not None
                self._console.want()
            case WantDrain():
                logger.warning("host drains: %s app=%s pid=%s", message.reason, self.app, self.pid)
                self.drain()
            case KernelCreated() | KernelExited() | Running() | Credit():
                self._on_session_message(frame.session, message)

    def _on_session_message(
        self, number: int, message: KernelCreated | KernelExited | Running | Credit
    ) -> None:
        session = self._sessions.get(number)
        if session is None:
            logger.debug("dropped news of no session app=%s number=%d", self.app, number)
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
                self._announced.release_session(number)
                error = None
                if message.error is not None:
                    error = KernelFailed(
                        f"the kernel of session {session.session_id} of {self.name} failed:\n"
                        f"{message.error}"
                    )
                session.end(error)
                self._leave_if_drained()
                self._retire_when_idle()

    @property
    def _announced(self) -> AnnouncedFiles:
        assert self._files is not None, "a host is started before it announces files"
        return self._files

    def _on_file_stored(self, number: int, message: FileStored) -> None:
        try:
            self._announced.stored(number, message)
        except (ShmError, ValueError) as error:
            logger.warning("virtual file refused: %s app=%s pid=%s", error, self.app, self.pid)
            session = self._sessions.get(number)
            if session is not None:
                session.on_file_refused(error)

    def _tell_freed(self, keys: list[str]) -> None:
        self.send(Channel.MANAGEMENT, 0, encode(FilesFreed(keys)))

    def _on_ready(self) -> None:
        if self._life.state is State.STARTING:
            self._life.apply(Event.READY)
            self._set_timer(None)
            self._retire_when_idle()

    def _on_start_timeout(self) -> None:
        if self._life.state is State.STARTING:
            self.end_for(
                Reason.START,
                HostStartError(
                    f"the process of {self.name} was not ready within"
                    f" {self.settings.start_timeout_s:g} s",
                    remedy="look at its last output, or raise start_timeout_s",
                ),
            )

    def _on_protocol_error(self, error: ProtocolError) -> None:
        logger.warning("host ended for what it sent: %s app=%s pid=%s", error, self.app, self.pid)
        self.end_for(Reason.PROTOCOL, error)

    def _leave_if_drained(self) -> None:
        if not self._sessions and self._life.state is State.DRAINING:
            self.leave()

    def _retire_when_idle(self) -> None:
        idle_s = self.settings.idle_retire_s
        if self._sessions or idle_s is None or self._life.state is not State.READY:
            return
        self._set_timer(idle_s, self._retire)

    def _retire(self) -> None:
        if not self._sessions and self._life.state is State.READY:
            logger.info("host retired, it has no sessions app=%s pid=%s", self.app, self.pid)
            self.leave()

    def _set_timer(self, delay_s: float | None, call: Callable[[], None] | None = None) -> None:
        """There is one timer, and what it is for follows from the state."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay_s is not None and call is not None:
            self._timer = self._loop.call_later(delay_s, call)

    def _pay_credits_later(self) -> None:
        self._loop.call_later(_CREDIT_FLUSH_S, self._pay_credits)

    def _pay_credits(self) -> None:
        with self._owing_lock:
            owing, self._owing = self._owing, set()
        for session in owing:
            session.pay_credit()

    def _on_death(self) -> None:
        assert self._process is not None
        assert self._link is not None
        if self._process.status() is None:
            return  # a sentinel may close before its process is gone
        self._loop.remove_reader(self._process.death_fd)
        self._set_timer(None)
        self._watchdog.unwatch(self)
        self._link.drain()
        self._link.close()
        self._announced.release_host()
        self._process.close()
        was_asked = self._life.state is State.LEAVING
        self._life.apply(Event.DIED)
        for session in list(self._sessions.values()):
            if session.can_be_rebuilt and not was_asked:
                session.suspend()
        supervised_task(
            self._tell_of_closing() if was_asked else self._tell_of_death(),
            name=f"mpkernel.death.{self.name}",
        )

    async def _tell_of_closing(self) -> None:
        logger.info("host closed app=%s pid=%s", self.app, self.pid)
        for session in self._taken_sessions():
            session.end(PoolClosed(f"{self.name} was closed"))
        await self._clean_up()

    async def _tell_of_death(self) -> None:
        """Let the last lines arrive, then hand the sessions over."""
        try:
            async with asyncio.timeout(_LAST_LINES_S):
                await self._tail_ended.wait()
        except TimeoutError:
            logger.debug("something still holds the console of a dead host app=%s", self.app)
        death, error = self._death()
        if death.last_lines or death.faults:
            logger.warning("last output of %s:\n%s", self.name, death.report)
        self._owner.died(self, death, error, self._taken_sessions())
        await self._clean_up()

    async def _clean_up(self) -> None:
        await asyncio.to_thread(self._announced.sweep)
        self._over.set()
        self._owner.host_over(self)

    def _taken_sessions(self) -> list[SessionLink]:
        sessions = list(self._sessions.values())
        self._sessions.clear()
        return sessions

    def _death(self) -> tuple[Death, MPKernelError]:
        """The record, and what sessions that do not come back are told."""
        assert self._process is not None
        assert self._tail is not None
        status = self._process.status()
        assert status is not None
        now, before = oom_kills(), self._oom_kills_before
        out_of_memory = now is not None and before is not None and now > before
        reason = reason_of(status, out_of_memory=out_of_memory)
        what = f"the process of {self.name} {status}"
        if reason is Reason.OUT_OF_MEMORY:
            what += ", for memory was out"
        error: MPKernelError = HostDied(what, remedy="open the session again")
        if self._fault is not None:
            reason, error = self._fault
            what = error.what
        death = Death(
            app=self.app,
            pid=self._process.pid,
            reason=reason,
            what=what,
            last_lines=tuple(self._tail.lines()),
            faults=self._tail.faults(),
        )
        return death, error

    def _on_console_end(self) -> None:
        """On the relay's thread."""
        assert self._process is not None
        self._process.close_console()
        try:
            self._loop.call_soon_threadsafe(self._tail_ended.set)
        except RuntimeError as error:  # the loop is closed, nobody waits for the last lines
            logger.debug("%s app=%s", error, self.app)
