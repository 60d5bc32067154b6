"""`Ending`: notices that a host's process has ended, cleans up, and tells the app.

    the process died                  the process left in order, or was given up
    ────────────────                  ──────────────────────────────────────────
    take in its last messages         the same, except when it was given up
    close its Pipes, end its files    the same
    kill the processes it started     the same, if it did not do so itself
    suspend its sessions              ·
    owner.fell                        ·
    wait for its last output          ·
    owner.died(reason, its sessions)  owner.left(its sessions)
    remove its shared memory          the same
    owner.host_over                   the same

A process is given up when SIGKILL does not end it. If a step fails, that is logged, and the other
steps are taken all the same.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Generic, TypeVar

from mpkernel.aio.patience import patient_timeout
from mpkernel.aio.tasks import begun_task
from mpkernel.aio.threads import off_the_loop
from mpkernel.aio.turns import turn_of
from mpkernel.errors import HostDied, PoolClosed
from mpkernel.logs import get_logger
from mpkernel.process_tree import Identity
from mpkernel.server.hosts.departure import Departure
from mpkernel.server.hosts.health import Health
from mpkernel.server.hosts.incoming import Incoming
from mpkernel.server.hosts.lifecycle import Event, Lifecycle, State
from mpkernel.server.hosts.owner import Owner
from mpkernel.server.hosts.session_table import SessionTable
from mpkernel.server.launching.death_watch import DeathWatch
from mpkernel.server.launching.process import KILLED_WITHIN_S, Process
from mpkernel.server.supervision.death_evidence import DeathEvidence
from mpkernel.server.supervision.deaths import Death, Reason
from mpkernel.steps import run_each

__all__ = ["Ending"]

logger = get_logger(__name__)

HostT = TypeVar("HostT")


class Ending(Generic[HostT]):
    """The end of one host. On the loop's thread, except `kill_and_reap`. The process is watched
    from the moment that this object is made.

    Args:
        host: the host, as its owner knows it.
        owner: the app. It is told of the end.
        process: the host's process.
        life: the state that the host is in.
        table: its sessions.
        evidence: collects what is known about the end of the process.
        health: its watchdog stops when the process has ended.
        departure: its timer stops when the process has ended.
        incoming: its Pipes and files.
        loop: the running loop.

    Raises:
        OSError: no descriptor is left with which the end of the process could be noticed.
    """

    def __init__(
        self,
        host: HostT,
        owner: Owner[HostT],
        process: Process,
        life: Lifecycle,
        table: SessionTable,
        evidence: DeathEvidence,
        health: Health,
        departure: Departure,
        incoming: Incoming,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._host = host
        self._owner = owner
        self._app = owner.path
        self._name = owner.name
        self._process = process
        self._pid = process.pid
        self._life = life
        self._table = table
        self._evidence = evidence
        self._health = health
        self._departure = departure
        self._incoming = incoming
        self._loop = loop
        self._strays_over: asyncio.Event | None = None  # set when those that were found have ended
        self._over = asyncio.Event()
        self._death_watch = DeathWatch(process, loop, self._on_death)

    async def wait(self) -> None:
        """Wait until all is done."""
        await self._over.wait()

    async def force(self, grace_s: float) -> None:
        """Wait until every step is done. The process is killed after `grace_s` seconds. If SIGKILL
        does not end it within 5 s, it is given up."""
        if not await self._is_over_within(grace_s):
            self._process.kill()
            if not await self._is_over_within(KILLED_WITHIN_S):
                self._give_up()

    def kill_and_reap(self) -> None:
        """Kill the process and all that it started, and wait for its end. This is for a server that
        ends without its loop. From any thread. Descriptors that a loop may still watch stay
        open."""
        self._incoming.link.close_sending()
        if self._loop.is_closed():
            self._process.close()
        else:
            self._process.reap()
        self._process.end_strays()
        self._incoming.files.sweep()

    def stop_watching(self) -> None:
        """Watch the process no more, and stop the timer. To be called before the descriptors are
        closed. Idempotent."""
        self._departure.stop_timer()
        self._death_watch.close()

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            async with patient_timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    def _give_up(self) -> None:
        """The process was killed and does not end: go on as if it had ended."""
        if self._life.is_over:
            return
        self.stop_watching()
        self._life.apply(Event.GIVE_UP)
        logger.warning("host given up, SIGKILL does not end it", app=self._app, pid=self._pid)
        steps: list[Callable[[], object]] = [
            self._health.unwatch,
            self._incoming.abandon,
            functools.partial(self._process.close, within_s=0.0),
        ]
        run_each(steps, f"a process of {self._name} could not be given up in full")
        self._end_in_order()
        self._over.set()
        self._owner.host_over(self._host)

    def _on_death(self) -> None:
        self.stop_watching()
        if self._life.is_over:
            return  # it was given up meanwhile
        if not self._incoming.hear_out():
            turn_of(self._loop).later(self._on_death)
            return
        self._health.died()
        was_asked = self._life.state is State.LEAVING
        started = self._health.started
        self._life.apply(Event.DIED)
        self._died(was_asked=was_asked, started=started)

    def _died(self, *, was_asked: bool, started: list[Identity]) -> None:
        """The process has ended, and its last messages were taken in.

        Args:
            was_asked: whether it had been asked to leave.
            started: the processes that it has started, as far as they were seen.
        """
        steps: list[Callable[[], object]] = [
            self._health.unwatch,
            self._incoming.abandon,
            self._process.close,
        ]
        run_each(steps, f"after the end of a process of {self._name}, a step of cleaning up failed")
        status = self._process.status()
        has_ended_its_own = was_asked and status is not None and status.code == 0
        if not has_ended_its_own:
            self._end_strays(started)
        if not self._owner.is_closed:
            run_each(
                [session.suspend for session in self._table.sessions if session.can_be_rebuilt],
                "a session could not be taken off its process",
            )
        if not was_asked:
            fell = functools.partial(self._owner.fell, self._host, self._evidence.cause(status))
            run_each([fell], f"the end of a process of {self._name} could not be counted")
        tell = self._tell_of_closing if was_asked else self._tell_of_death
        begun_task(tell, name=f"mpkernel.death.{self._name}")

    def _end_strays(self, started: list[Identity]) -> None:
        """End what the process has left running, on a thread. Sessions do not wait for this; only
        `wait` and `force` do."""
        over = self._strays_over = asyncio.Event()

        async def end() -> None:
            try:
                await off_the_loop(functools.partial(self._process.end_strays, started))
            finally:
                over.set()

        begun_task(end, name=f"mpkernel.strays.{self._name}")

    async def _tell_of_closing(self) -> None:
        logger.info("host closed", app=self._app, pid=self._pid)
        try:
            self._end_in_order()
        finally:
            await self._clean_up()

    async def _tell_of_death(self) -> None:
        """Wait for the last lines of output, then give the sessions to the app."""
        status = self._process.status()
        assert status is not None
        elsewhere = self._process.elsewhere
        worker = elsewhere.where or None if elsewhere is not None else None
        far_pid = elsewhere.far_pid if elsewhere is not None else None
        process = self._process
        python = process.python if process.requirements is not None else None
        try:
            await self._evidence.arrived()
            death, error = self._evidence.death(
                self._pid, status, python=python, worker=worker, pid_on_worker=far_pid
            )
        except Exception:
            logger.exception(
                "the reason of a death could not be found out", app=self._app, pid=self._pid
            )
            what = f"the process of {self._name} {status}"
            death = Death(
                app=self._app,
                pid=self._pid,
                reason=Reason.UNKNOWN,
                what=what,
                python=python,
                worker=worker,
                pid_on_worker=far_pid,
            )
            error = HostDied(what, remedy="open the session again")
        if death.last_lines or death.faults:
            logger.warning(
                "last output of %s:\n%s", self._name, death.report, app=self._app, pid=self._pid
            )
        try:
            self._owner.died(death, error, self._table.take_all(), self._health.usages)
        finally:
            await self._clean_up()

    def _end_in_order(self) -> None:
        self._owner.left(self._table.take_all(), PoolClosed(f"{self._name} was closed"))

    async def _clean_up(self) -> None:
        try:
            if self._strays_over is not None:
                await self._strays_over.wait()
            await self._incoming.files.released()
            await off_the_loop(self._incoming.files.sweep)
        finally:
            self._over.set()
            self._owner.host_over(self._host)
