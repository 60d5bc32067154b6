"""An app on simulated processes and a simulated clock: all of what happens to it, in any order.

`Clock` stands for the event loop, `SimulatedHost` for an app host with its process. `App`, its
sessions, what waits, the restart policy, the session table and the life cycle are the real ones.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from turns import work

from mpkernel import KernelSpec, Settings
from mpkernel.errors import HostDied, HostStartError, MPKernelError, PoolClosed
from mpkernel.server.apps.app import App
from mpkernel.server.hosts.lifecycle import Event, Lifecycle, State
from mpkernel.server.hosts.session_table import SessionTable
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.sessions.journal import Journal, Rebuilt
from mpkernel.server.supervision.deaths import Cause, Death, Reason
from mpkernel.server.supervision.tallies import Traffic
from mpkernel.wire.frames import Channel, Message
from mpkernel.wire.messages import (
    KernelCreated,
    KernelExited,
    Running,
    StopKernel,
    decode_down,
)

SETTINGS = Settings(restart_limit=3, restart_backoff_s=1.0, restart_cool_down_s=20.0)
KERNEL = KernelSpec(entry="simulated:kernel")

_CAUSES = {Reason.OPERATOR: Cause.OPERATOR, Reason.LOST: Cause.CLUSTER}

LAST_WORDS_S = 0.2
LEAVE_S = 0.5
START_S = 0.3


class Clock:
    """What `App` needs of an event loop: calls that are due at a time, which moves on when told.

    Attributes:
        slow_s: how much of it goes by with each look at the time.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.slow_s = 0.0
        self._order = itertools.count()
        self._due: list[tuple[float, int, asyncio.TimerHandle]] = []

    def time(self) -> float:
        self.now += self.slow_s
        return self.now

    def call_soon(self, call: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        return self.call_later(0.0, call, *args)

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay_s: float, call: Callable[..., object], *args: object
    ) -> asyncio.TimerHandle:
        due = self.now + delay_s
        handle = asyncio.TimerHandle(due, call, args, self)
        heapq.heappush(self._due, (due, next(self._order), handle))
        return handle

    def advance(self, seconds: float) -> None:
        """Let so much time go by, and all that is due in it happen."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            due, _, handle = heapq.heappop(self._due)
            self.now = max(self.now, due)
            if not handle.cancelled():
                handle._callback(*handle._args)  # as `_run`, but an exception is the test's
        self.now = end

    def turn(self) -> None:
        """One turn of the loop: wait until something is due; it happens, but nothing that follows
        from it does."""
        self.now = max(self.now, self._due[0][0])
        due = [entry for entry in self._due if entry[0] <= self.now]
        self._due = [entry for entry in self._due if entry[0] > self.now]
        heapq.heapify(self._due)
        for _, _, handle in sorted(due, key=lambda entry: entry[:2]):
            if not handle.cancelled():
                handle._callback(*handle._args)

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Does nothing: a cancelled call is passed over when it is due."""


class Replay(Journal):
    """A journal that sends every command again, except the last one of a culprit."""

    def __init__(self) -> None:
        self.commands: list[Message] = []
        self.begun = self.done = 0
        self.is_broken = False

    def sent(self, channel: Channel, command: object) -> None:
        assert isinstance(command, bytes)
        self.commands.append(Message(channel, command))

    def progressed(self, begun: int, done: int) -> None:
        self.begun, self.done = begun, done

    def rebuild(self, *, without_running: bool) -> Rebuilt:
        if self.is_broken:
            raise RuntimeError("this journal is broken")
        if without_running and self.begun > self.done:
            del self.commands[self.done]
        self.begun = self.done = 0
        return Rebuilt(KERNEL, list(self.commands), len(self.commands))


class SlowJournal(Replay):
    """Takes a while to say what its kernel runs.

    Attributes:
        was_asked: whether somebody wanted to know.
    """

    was_asked = False

    def running(self) -> str:
        self.was_asked = True
        work(0.001)
        return "something"


class Client(BaseSession):
    """A client of the app.

    Attributes:
        told: what it was told of others that came back, while it waited.
    """

    def __init__(self, app: App, name: str, journal: Replay | None) -> None:
        super().__init__(app, name, journal)
        self.replay = journal
        self.error: MPKernelError | None = None
        self.times_over = 0
        self.told: list[tuple[int, int]] = []

    def on_waiting(self, back: int, all_of_them: int) -> None:
        assert self.host is None
        self.told.append((back, all_of_them))

    def on_message(self, channel: Channel, payload: bytes) -> None:
        raise AssertionError("no simulated kernel sends anything")

    def on_end(self, error: MPKernelError | None) -> None:
        self.error = error
        self.times_over += 1

    def __repr__(self) -> str:
        return self.session_id


class _Kernel:
    """A kernel's own count of its commands, and whether it was asked to end."""

    def __init__(self) -> None:
        self.sent = self.begun = self.done = 0
        self.is_stopping = False


class SimulatedHost:
    """Like `AppHost`, but the test says what its process does."""

    _pids = itertools.count(1000)

    def __init__(self, owner: App, clock: Clock) -> None:
        self.app = owner.path
        self.settings = owner.settings
        self.refusal: str | None = None
        self.pid = next(self._pids)
        self.backlog_bytes = 0
        self.traffic = Traffic()
        self.cpus = None
        self.is_outdated = False
        self.started_at = clock.time()
        self._owner = owner
        self._clock = clock
        self._life = Lifecycle()
        self._table = SessionTable(
            owner.path, clock, self._on_exit, lambda session, error: owner.left([session], error)
        )
        self.kernels: dict[int, _Kernel] = {}
        self._ended_for: tuple[Reason, MPKernelError] | None = None

    @property
    def state(self) -> State:
        return self._life.state

    @property
    def takes_sessions(self) -> bool:
        return self._life.takes_sessions

    @property
    def is_alive(self) -> bool:
        return not self._life.is_over

    @property
    def sessions(self) -> list[BaseSession]:
        return self._table.sessions

    @property
    def session_count(self) -> int:
        return len(self._table)

    @property
    def computing_count(self) -> int:
        return self._table.load.computing_count

    def has(self, session: BaseSession) -> bool:
        return self.is_alive and session in self._table.sessions

    # What the app and its sessions do

    def open(self, session: BaseSession, kernel: KernelSpec) -> None:
        assert self.takes_sessions, "a session is given to a process that takes none"
        session.host = self
        self._table.add(session)
        self.kernels[session.number] = _Kernel()

    def send(
        self, channel: Channel, number: int, payload: bytes, *, refusable: bool = True
    ) -> None:
        kernel = self.kernels.get(number)
        if kernel is None:
            return
        if channel is not Channel.MANAGEMENT:
            kernel.sent += 1
        elif isinstance(decode_down(payload), StopKernel):
            kernel.is_stopping = True

    def taken(self, number: int, count: int) -> None:
        """Does nothing: no output comes, so no credit is owed."""

    def drain(self, *, patience_s: float | None = None) -> None:
        if not self.is_alive:
            return
        self._life.apply(Event.DRAIN)
        self._owner.host_changed(self)
        if patience_s is not None:
            for session in self.sessions:
                session.stop(patience_s=patience_s)
        self._leave_if_drained()

    def leave(self) -> None:
        if self.is_alive and self.state is not State.LEAVING:
            self._life.apply(Event.LEAVE)
            self._owner.host_changed(self)
            self._clock.call_later(LEAVE_S, self.die)

    def leave_for(self, reason: Reason, error: MPKernelError) -> None:
        if self.is_alive and self.state is not State.LEAVING:
            self._ended_for = self._ended_for or (reason, error)
            self._life.apply(Event.DRAIN)
            self._owner.host_changed(self)
            self._clock.call_later(LEAVE_S, self.die)

    # What its process does

    def is_ready(self) -> None:
        if self.state is State.STARTING:
            self._life.apply(Event.READY)
            self._owner.host_changed(self)
        for number, session in list(self._table._sessions.items()):
            if session.thread is None:
                self._table.news(number, KernelCreated(thread=number))

    def retire(self) -> None:
        if not self.sessions and self.state is State.READY and self._owner.may_retire(self):
            self.leave()

    def begin(self, session: BaseSession) -> None:
        kernel = self.kernels[session.number]
        if kernel.done == kernel.begun < kernel.sent:
            kernel.begun += 1
            self._table.news(session.number, Running(kernel.begun, kernel.done))

    def finish(self, session: BaseSession) -> None:
        kernel = self.kernels[session.number]
        if kernel.done < kernel.begun:
            kernel.done += 1
            self._table.news(session.number, Running(kernel.begun, kernel.done))

    def end_kernel(self, session: BaseSession, error: str | None = None) -> None:
        self._table.news(session.number, KernelExited(error))

    def fail_start(self, session: BaseSession) -> None:
        if session.thread is None:
            exited = KernelExited("no thread could be started", never_ran=True)
            self._table.news(session.number, exited)

    def die(self, reason: Reason = Reason.KILLED, thread: int | None = None) -> None:
        if not self.is_alive:
            return
        was_asked = self.state is State.LEAVING
        self._life.apply(Event.DIED)
        if not self._owner.is_closed:
            for session in self.sessions:
                if session.can_be_rebuilt:
                    session.suspend()
        if was_asked:
            self._owner.left(self._table.take_all(), PoolClosed("closed"))
            self._owner.host_over(self)
            return
        final = self._ended_for[0] if self._ended_for is not None else reason
        self._owner.fell(self, _CAUSES.get(final, Cause.APP))
        faults = "" if thread is None else f"Current thread 0x{thread:x} (most recent call first):"
        self._clock.call_later(LAST_WORDS_S, self._tell_of_death, reason, faults)

    def _tell_of_death(self, reason: Reason, faults: str) -> None:
        error: MPKernelError = HostDied("it died")
        if self._ended_for is not None:
            reason, error = self._ended_for
        death = Death(app=self.app, pid=self.pid, reason=reason, what=error.what, faults=faults)
        self._owner.died(death, error, self._table.take_all(), ())
        self._owner.host_over(self)

    def _on_exit(self, number: int) -> None:
        del self.kernels[number]
        self._leave_if_drained()

    def _leave_if_drained(self) -> None:
        if not self._table and self.state is State.DRAINING:
            self.leave()


class World:
    """One app, its clients and its processes.

    Attributes:
        refusals: how many of the next launches the system refuses.
        failures: these are raised by the next launches, one after the other.
    """

    def __init__(self, settings: Settings) -> None:
        self.clock = Clock()
        self.refusals = 0
        self.failures: list[Exception] = []
        self.clients: list[Client] = []
        self.app = App("/app.py", settings, self.clock, self._launch, clock=self.clock.time)

    @property
    def hosts(self) -> list[SimulatedHost]:
        return sorted((host for host in self.app.hosts if host.is_alive), key=lambda h: h.pid)

    def open(self, *, with_journal: bool) -> Client | None:
        """A new client; None where the app takes none for now."""
        client = Client(self.app, f"c{len(self.clients)}", Replay() if with_journal else None)
        try:
            self.app.open(client, KERNEL)
        except MPKernelError:
            return None
        self.clients.append(client)
        return client

    def go_on(self, seconds: float) -> None:
        """So much time goes by; processes become ready, and kernels do all that they were sent."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.advance(min(START_S, end - self.clock.now))
            for host in self.hosts:
                host.is_ready()
                for session in host.sessions:
                    kernel = host.kernels[session.number]
                    for _ in range(kernel.sent - kernel.done):
                        host.begin(session)
                        host.finish(session)
                    if kernel.is_stopping:
                        host.end_kernel(session)

    def _launch(self, app: App, kernel: KernelSpec) -> SimulatedHost:
        if self.refusals:
            self.refusals -= 1
            raise HostStartError("no process is left")
        if self.failures:
            raise self.failures.pop(0)
        return SimulatedHost(app, self.clock)
