"""`AppHost`: one app's process, the state it is in and the sessions on it.

What the operating system does is `process`'s, what comes up `reception`'s, which state may
follow which `lifecycle`'s, which host a session lands on `app`'s. Here they meet.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from mpkernel.aio.patience import PatientTimer, patient_timeout
from mpkernel.aio.tasks import supervised_task
from mpkernel.aio.threads import off_the_loop
from mpkernel.aio.turns import turn_of
from mpkernel.errors import (
    HostDied,
    HostStartError,
    MPKernelError,
    PoolClosed,
    ProtocolError,
)
from mpkernel.logs import get_logger
from mpkernel.process_tree import Identity
from mpkernel.server.death_watch import DeathWatch
from mpkernel.server.deaths import Death, Reason
from mpkernel.server.interpreter import never_ready
from mpkernel.server.last_words import LastWords
from mpkernel.server.lifecycle import Event, Lifecycle, State
from mpkernel.server.owner import Owner
from mpkernel.server.process import KILLED_WITHIN_S, HostProcess
from mpkernel.server.reception import Reception
from mpkernel.server.relay import ConsoleRelay
from mpkernel.server.roster import Roster
from mpkernel.server.session_link import SessionLink
from mpkernel.server.setups import setup_of
from mpkernel.server.steps import run_each
from mpkernel.server.tallies import Traffic
from mpkernel.server.usage import Usage
from mpkernel.server.verdicts import Action, HostWatch, Verdict
from mpkernel.server.watchdog import Watchdog
from mpkernel.spec import KernelSpec
from mpkernel.wire.frames import Channel
from mpkernel.wire.messages import (
    CreateKernel,
    Ping,
    Shutdown,
    encode,
)
from shm import Registry

__all__ = ["AppHost"]

logger = get_logger(__name__)

_HANG_UP_GRACE_S = 1.0
_REASON_CHARS = 200


class AppHost:
    """A live app host. Made on the loop's thread; `send` and `open` from any.

    Making it tells the process what it is for, and returns at once: sessions may be opened from
    then on.

    Args:
        owner: the app; it is told of the process's end, on the loop's thread.
        process: its process, fresh or warm, which is the host's from now on.
        loop: the running loop.
        relay: where its console output goes.
        files: where its virtual files are registered.
        watchdog: what looks after its process.
        argv: `sys.argv` in the process.

    Attributes:
        app: absolute path of the app's file.
        name: its short name, for messages.
        settings: the app's.
        refusal: why it takes no new sessions although it lives; None when it does.
        pid: its process id.
        started_at: when it was launched, or adopted; `time.monotonic()`.

    Raises:
        HostStartError: there are no descriptors, or no threads, to connect the process, or `argv`
            is too large for a message. The process is ended then.
    """

    def __init__(
        self,
        owner: Owner[AppHost],
        process: HostProcess,
        loop: asyncio.AbstractEventLoop,
        relay: ConsoleRelay,
        files: Registry,
        watchdog: Watchdog[AppHost],
        argv: Sequence[str] = (),
    ) -> None:
        self.app = owner.path
        self.name = owner.name
        self.settings = owner.settings
        self.refusal: str | None = None
        self.pid = process.pid
        self.started_at = time.monotonic()
        self._owner = owner
        self._process = process
        self._loop = loop
        self._watchdog = watchdog
        self._watch: HostWatch
        self._reception: Reception
        self._death_watch: DeathWatch
        self._life = Lifecycle()
        self._roster = Roster(owner.path, loop, self._on_exit)
        self._is_condemned = False
        self._last_words = LastWords(owner.path, owner.name, loop)
        self._timer: PatientTimer | None = None
        self._strays: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        try:
            self._connect(relay, files, argv)
        except (OSError, RuntimeError) as error:
            raise HostStartError(
                f"the process of {self.name} was started, but not connected: {error}",
                remedy="look at the limits on descriptors and threads of this server",
            ) from error
        except ProtocolError as error:
            raise HostStartError(
                f"the process of {self.name} was started, but not told what it is for: {error}",
                remedy="shorten KernelSpec.argv, or raise max_frame_bytes",
            ) from error
        logger.info("host started", app=self.app, pid=self.pid)

    @property
    def state(self) -> State:
        """Where the host stands in its life."""
        return self._life.state

    @property
    def traffic(self) -> Traffic:
        """What went between it and the server."""
        return self._reception.traffic

    @property
    def takes_sessions(self) -> bool:
        """Whether a new session may be opened here."""
        return self._life.takes_sessions

    @property
    def is_alive(self) -> bool:
        """Whether the process is starting or running."""
        return not self._life.is_over

    @property
    def session_count(self) -> int:
        """Sessions whose kernels have not ended."""
        return len(self._roster)

    @property
    def running_count(self) -> int:
        """Sessions whose kernels run a command, as far as they say."""
        return sum(session.is_running for session in self._roster.sessions)

    @property
    def sessions(self) -> list[SessionLink]:
        """Those whose kernels have not ended."""
        return self._roster.sessions

    @property
    def usages(self) -> tuple[Usage, ...]:
        """The latest looks at what it uses, the oldest first."""
        return self._watch.history

    @property
    def backlog_bytes(self) -> int:
        """What waits in the server because the process does not take it."""
        return self._reception.link.backlog_bytes

    def open(self, session: SessionLink, kernel: KernelSpec) -> None:
        """Have the host start a kernel for `session`. Messages may be sent to it at once.

        Raises:
            ProtocolError: `kernel.args` is too large for a message. The host does not know the
                session then.
        """
        create = CreateKernel(
            session_id=session.session_id,
            entry=kernel.entry,
            args=kernel.args,
            window_bytes=self.settings.window_bytes,
        )
        payload = encode(create)
        self._roster.add(session)
        try:
            self.send(Channel.MANAGEMENT, session.number, payload)
        except BaseException:
            self._roster.remove(session)
            raise
        session.host = self

    def send(
        self, channel: Channel, session: int, payload: bytes, *, refusable: bool = True
    ) -> None:
        """See `Link.send`."""
        self._reception.link.send(channel, session, payload, refusable=refusable)

    @property
    def credit_bytes(self) -> int:
        """At how many bytes a session's client owes its credit at the latest."""
        return self._reception.conduct.credit_bytes

    def owe_credit(self, session: SessionLink) -> None:
        """Have the session's withheld credit sent soon. From any thread."""
        self._roster.owe_credit(session)

    def taken(self, count: int) -> None:
        """Clients took so many bytes of messages. From any thread."""
        self._reception.conduct.taken(count)

    def last_lines(self) -> list[str]:
        """The last lines that the process wrote to its console, and what faulthandler wrote."""
        return self._last_words.lines()

    async def close(self) -> None:
        """Ask the process to leave, kill it after `Settings.stop_grace_s`, wait for its end. One
        that does not even end within 5 s of SIGKILL is given up.

        Safe to call twice, and to cancel: what was begun goes on.
        """
        self.leave()
        if not await self._is_over_within(self.settings.stop_grace_s):
            self.kill()
            if not await self._is_over_within(KILLED_WITHIN_S):
                self._give_up()

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
            run_each(
                [
                    functools.partial(session.stop, patience_s=patience_s)
                    for session in self._roster.sessions
                ],
                "a session could not be told to stop",
            )
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
        logger.warning("the process of %s %s", self.name, verdict.what, app=self.app, pid=self.pid)
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
        self._shut_down()

    def leave_for(self, reason: Reason, error: MPKernelError) -> None:
        """Leave now for a reason that the sessions, and the log, shall be told; those with a
        journal come back on another process. On the loop's thread; returns at once."""
        if self._life.is_over or self._life.state is State.LEAVING:
            return
        self._last_words.ended_for(reason, error)
        self._life.apply(Event.DRAIN)
        self._shut_down()

    def end_for(self, reason: Reason, error: MPKernelError) -> None:
        """Kill the process for a reason that its sessions, and the log, shall be told."""
        self._last_words.ended_for(reason, error)
        self.kill()

    def kill(self) -> None:
        """End the process and all that it started, now. From any thread."""
        self._process.kill()

    def kill_and_reap(self) -> None:
        """The same, and wait for it: for a server that leaves without its loop. From any thread.
        The descriptors stay open where a loop may still watch them."""
        self._reception.link.close_sending()
        if self._loop.is_closed():
            self._process.close()
        else:
            self._process.reap()
        self._process.end_strays()
        self._reception.files.sweep()

    def became_ready(self) -> None:
        """The process takes sessions."""
        if self._life.state is State.STARTING:
            self._life.apply(Event.READY)
            self._owner.tallies.host_start.observe(time.monotonic() - self.started_at)
            self._set_timer(None)
            self._retire_when_idle()

    def ponged(self, number: int) -> None:
        """The process answers a ping.

        Raises:
            ProtocolError: nobody sent it, or it was answered.
        """
        if not self._watch.ponged(number):
            raise ProtocolError(f"it answers ping {number}, which nobody sent or it has answered")
        self._last_words.answers()
        self._owner.tallies.ping.observe(time.monotonic() - self._watch.pinged_at)

    def wants_drain(self, reason: str) -> None:
        """The process wants no more sessions."""
        if self._life.state in (State.STARTING, State.READY):
            said = " ".join(reason[:_REASON_CHARS].split())
            logger.warning("host drains: %s", said, app=self.app, pid=self.pid)
            self.drain()

    def condemn(self, error: ProtocolError) -> None:
        """The process is ended for what it sent."""
        if self._is_condemned:
            return
        self._is_condemned = True
        logger.warning("host ended for what it sent: %s", error, app=self.app, pid=self.pid)
        what = f"the process of {self.name} was ended for what it sent: {error.what}"
        self.end_for(Reason.PROTOCOL, ProtocolError(what, remedy=error.remedy))

    def hung_up(self) -> None:
        """A Pipe was closed: the process dies, or goes on without it, which is no use."""
        PatientTimer(self._loop, _HANG_UP_GRACE_S, self._end_if_it_lives)

    def _connect(self, relay: ConsoleRelay, files: Registry, argv: Sequence[str]) -> None:
        process = self._process
        with ExitStack() as undo:
            undo.callback(process.close_console)
            undo.callback(process.close)
            self._watch = self._watchdog.watch(self, process.pid, self.settings)
            undo.callback(self._watchdog.unwatch, self)
            self._reception = Reception(self, process, self._roster, files, self._loop)
            undo.callback(self._reception.link.close)
            self._death_watch = DeathWatch(process, self._loop, self._on_death)
            undo.callback(self._death_watch.close)
            self._set_timer(self.settings.start_timeout_s, self._on_start_timeout)
            undo.callback(self._set_timer, None)
            setup = setup_of(self.settings, self.app, argv)
            self.send(Channel.MANAGEMENT, 0, encode(setup))
            # The last step: from then on it is the relay that closes these.
            self._last_words.tail = relay.add(
                self.name,
                app=self.app,
                pid=process.pid,
                stdout=process.stdout,
                stderr=process.stderr,
                faults=process.faults,
                on_text=self._reception.console.on_text,
                on_end=self._on_console_end,
            )
            undo.pop_all()

    def _on_exit(self, number: int) -> None:
        self._reception.files.release_session(number)
        self._leave_if_drained()
        self._retire_when_idle()

    def _on_start_timeout(self) -> None:
        if self._life.state is State.STARTING:
            self.end_for(
                Reason.START,
                HostStartError(
                    f"the process of {self.name} was not ready within"
                    f" {self.settings.start_timeout_s:g} s",
                    remedy="look at its last output, or raise start_timeout_s; it was launched as"
                    f" {self._process.python}",
                ),
            )

    def _end_if_it_lives(self) -> None:
        if self._process.status() is not None:
            return  # it is dead, and what it said last is being taken in
        if not self._life.is_over and self._life.state is not State.LEAVING:
            self.condemn(ProtocolError("it has closed a Pipe, and goes on"))

    def _leave_if_drained(self) -> None:
        if not self._roster and self._life.state is State.DRAINING:
            self.leave()

    def _retire_when_idle(self) -> None:
        idle_s = self.settings.idle_retire_s
        if self._roster or idle_s is None or self._life.state is not State.READY:
            return
        self._set_timer(idle_s, self._retire)

    def _retire(self) -> None:
        if not self._roster and self._life.state is State.READY:
            logger.info("host retired, it has no sessions", app=self.app, pid=self.pid)
            self.leave()

    def _shut_down(self) -> None:
        """Have the process end in order, or be killed when it takes too long."""
        self.send(Channel.MANAGEMENT, 0, encode(Shutdown(self.settings.stop_grace_s)))
        self._set_timer(self.settings.stop_grace_s, self.kill)

    def _set_timer(self, delay_s: float | None, call: Callable[[], None] | None = None) -> None:
        """There is one timer, and what it is for follows from the state."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay_s is not None and call is not None:
            self._timer = PatientTimer(self._loop, delay_s, call)

    def _on_death(self) -> None:
        self._set_timer(None)
        self._death_watch.close()
        if self._life.is_over:
            return  # it was given up meanwhile
        if not self._reception.hear_out():
            turn_of(self._loop).later(self._on_death)
            return
        was_asked = self._life.state is State.LEAVING
        seen = self._watchdog.processes_of(self)
        if self._life.state is State.STARTING:
            self._note_start_failure()
        steps: list[Callable[[], object]] = [
            functools.partial(self._watchdog.unwatch, self),
            self._reception.abandon,
            self._process.close,
        ]
        run_each(steps, f"the end of a process of {self.name} could not be seen to in full")
        self._life.apply(Event.DIED)
        self._end_strays(seen)
        self._hand_over(was_asked=was_asked)

    def _end_strays(self, seen: list[Identity]) -> None:
        """On a thread: sessions do not wait for it, only who waits for the host's end does."""
        status = self._process.status()
        if self._life.state is State.CLOSED and status is not None and status.code == 0:
            return  # it has done so itself
        end = functools.partial(self._process.end_strays, seen)
        self._strays = supervised_task(off_the_loop(end), name=f"mpkernel.strays.{self.name}")

    def _note_start_failure(self) -> None:
        status = self._process.status()
        assert status is not None
        error = never_ready(self.name, status, self._process.python)
        if error is not None:
            self._last_words.ended_for(Reason.START, error)

    def _give_up(self) -> None:
        """The process was killed and does not end: go on as if it had."""
        if self._life.is_over:
            return
        logger.warning("host given up, SIGKILL does not end it", app=self.app, pid=self.pid)
        self._set_timer(None)
        self._death_watch.close()
        steps: list[Callable[[], object]] = [
            functools.partial(self._watchdog.unwatch, self),
            self._reception.abandon,
            functools.partial(self._process.close, within_s=0.0),
        ]
        run_each(steps, f"a process of {self.name} could not be given up in full")
        self._life.apply(Event.GIVE_UP)
        self._end_in_order(self._roster.take_all())
        self._over.set()
        self._owner.host_over(self)

    def _hand_over(self, *, was_asked: bool) -> None:
        """The process is gone: its sessions are the app's again."""
        sessions = self._roster.sessions
        if not self._owner.is_closed:
            coming_back = [session for session in sessions if session.can_be_rebuilt]
            run_each(
                [session.suspend for session in coming_back],
                "a session could not be taken off its process",
            )
        if not was_asked:
            by_operator = self._last_words.reason is Reason.OPERATOR
            self._owner.fell(self, by_operator=by_operator)
        supervised_task(
            self._tell_of_closing() if was_asked else self._tell_of_death(),
            name=f"mpkernel.death.{self.name}",
        )

    async def _tell_of_closing(self) -> None:
        logger.info("host closed", app=self.app, pid=self.pid)
        try:
            self._end_in_order(self._roster.take_all())
        finally:
            await self._clean_up()

    async def _tell_of_death(self) -> None:
        """Let the last lines arrive, then hand the sessions over."""
        status = self._process.status()
        assert status is not None
        try:
            await self._last_words.arrived()
            death, error = self._last_words.death(self.pid, status)
        except Exception:
            logger.exception("the reason of a death is not known", app=self.app, pid=self.pid)
            what = f"the process of {self.name} {status}"
            death = Death(app=self.app, pid=self.pid, reason=Reason.UNKNOWN, what=what)
            error = HostDied(what, remedy="open the session again")
        if death.last_lines or death.faults:
            logger.warning(
                "last output of %s:\n%s", self.name, death.report, app=self.app, pid=self.pid
            )
        try:
            self._owner.died(death, error, self._roster.take_all(), self.usages)
        finally:
            await self._clean_up()

    def _end_in_order(self, sessions: list[SessionLink]) -> None:
        self._owner.left(sessions, PoolClosed(f"{self.name} was closed"))

    async def _clean_up(self) -> None:
        try:
            if self._strays is not None:
                await asyncio.wait([self._strays])
            await self._reception.files.released()
            await off_the_loop(self._reception.files.sweep)
        finally:
            self._over.set()
            self._owner.host_over(self)

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            async with patient_timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    def _on_console_end(self) -> None:
        """On the relay's thread."""
        self._process.close_console()
        self._last_words.console_ended()
