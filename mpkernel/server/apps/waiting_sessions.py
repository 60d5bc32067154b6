"""`WaitingSessions`: the sessions of an app that have no live process, and how they get one again.

    died ─▶ planned ─▶ together: one after the other, at once, when there is a process; one at a
                 │     time in a process with sessions that are used, see `rebuilds`
                 └───▶ one by one, the suspects: each on trial, one in a process at a time

What a session of a living pool may wait for, and what ends each wait:

    it waits for                       it stands in    the wait ends with
    ─────────────────────────────────  ──────────────  ─────────────────────────────────────────────
    the reason of its process's death  the dead host   `App.died`, which follows each death within
                                                       0.2 s, whatever fails meanwhile
    a process that may be started      together,       the time that `RestartPolicy` says; sooner
                                       suspects        with a process that another session starts,
                                                       or with a restart by the operator
    the next try to start its kernel,  later           1 s
    after one for which no thread was
    left
    the event loop's time              together        the loop's next turn
    the rebuilds of other sessions     together        one of them has its values again, is over,
                                                       has lost its process, or has had 0.2 s; or
                                                       another process is ready
    the trials of other suspects       suspects        one of them has run its commands, is over,
                                                       has lost its process, or has had 10 s
    the start of its kernel            its host        the kernel's start or end, the process's end,
                                                       `start_timeout_s`
    any of these                                       its close, the pool's close, too many deaths

So a session is on a live host, or it is over, or somebody looks at the app again: `App` does after
every event above. In which order sessions come back is decided in `recovery_plan`, whether there is
a process for them in `app`.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import NamedTuple, TypeAlias

from mpkernel.aio.patience import PatientTimer
from mpkernel.errors import HostDied, KernelFailed, SessionClosed
from mpkernel.logs import get_logger
from mpkernel.server.apps.rebuilds import Rebuilds
from mpkernel.server.apps.recovery_plan import Involved, culprit_of, plan_of
from mpkernel.server.apps.recovery_progress import RecoveryProgress
from mpkernel.server.sessions.app_and_host import HostOfSession
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.deaths import Death, Reason

__all__ = ["WaitingSessions"]

logger = get_logger(__name__)

Host: TypeAlias = HostOfSession[BaseSession]

_TRIAL_PATIENCE_S = 10.0
_NEXT_START_S = 1.0
_SLICE_S = 0.005


class _Waiting(NamedTuple):
    """A session that waits for a process.

    Attributes:
        session: which.
        death: how its last process died; None for a new session, and for one whose process left in
            order.
        guilty: whether it was the session's fault.
    """

    session: BaseSession
    death: Death | None = None
    guilty: bool = False


_InOrder: TypeAlias = "OrderedDict[BaseSession, _Waiting]"


class WaitingSessions:
    """One app's. On the loop's thread.

    Args:
        app: absolute path of its file.
        loop: the running loop.
        look: called when a session has been rebuilt, or a trial is over: the next one may come
            back. It returns at once.
        host: the process that takes the next session; None: none does for now. It is told which
            processes rebuild others.
        host_for_suspect: the same for a suspect, which is given none of the processes that have a
            trial: these are the argument.
    """

    def __init__(
        self,
        app: str,
        loop: asyncio.AbstractEventLoop,
        look: Callable[[], None],
        host: Callable[[Rebuilds], Host | None],
        host_for_suspect: Callable[[Collection[object]], Host | None],
    ) -> None:
        self._app = app
        self._loop = loop
        self._look = look
        self._host = host
        self._host_for_suspect = host_for_suspect
        # By session: one of ten thousand may be closed without a look at all the others.
        self._together: _InOrder = OrderedDict()
        self._suspects: _InOrder = OrderedDict()
        self._later: OrderedDict[BaseSession, tuple[float, _Waiting]] = OrderedDict()  # with times
        self._rebuilds = Rebuilds(loop.time)
        self._trials: dict[BaseSession, PatientTimer] = {}  # with its end at the latest
        self._progress = RecoveryProgress(loop, self._that_lost_their_process)

    def __len__(self) -> int:
        return len(self._together) + len(self._suspects) + len(self._later)

    @property
    def sessions(self) -> list[BaseSession]:
        """The sessions that wait."""
        return [*self._together, *self._suspects, *self._later]

    def add(self, session: BaseSession, death: Death | None = None) -> None:
        """This session waits for a process, and has ended none. Its client is told of `death`, if
        there was one. If its kernel could not be started, it waits for 1 s first."""
        if session.record.failed_starts:
            until = self._loop.time() + _NEXT_START_S
            self._later[session] = (until, _Waiting(session, death))
        else:
            self._together[session] = _Waiting(session, death)
        if death is not None:
            self._progress.begin()

    def plan(self, death: Death, sessions: list[BaseSession]) -> None:
        """Plan the return of the sessions of a process that died, and end the one that has ended
        its process too often. Suspects of an earlier death go on waiting."""
        culprit = culprit_of(
            death,
            {session: session.thread for session in sessions if session.thread is not None},
            [session for session in sessions if session.is_running],
        )
        involved = [_involved(session) for session in sessions]
        was_lost = death.reason in (Reason.OPERATOR, Reason.LOST)
        plan = plan_of(involved, culprit, was_lost=was_lost)
        for one in involved:
            if was_lost and one.runs_something_unproven:
                one.session.record.is_unproven = True
        if plan.culprit is not None:
            plan.culprit.record.strikes += 1
            logger.warning(
                "session ended its process strikes=%d",
                plan.culprit.record.strikes,
                app=self._app,
                session=plan.culprit.session_id,
                pid=death.pid,
            )
        self._together |= {session: _Waiting(session, death, False) for session in plan.together}
        self._suspects |= {
            session: _Waiting(session, death, session is plan.culprit)
            for session in plan.one_by_one
        }
        if plan.closed and plan.culprit is not None:
            plan.culprit.end(
                HostDied(
                    f"{death.what}, and it was this session again", remedy="open the session again"
                ),
                is_at_fault=True,
            )
        self._progress.begin()

    def bring_back(self) -> float | None:
        """Have sessions come back on live hosts: those that come together, for 5 ms, then the next
        suspect. Returns after how many seconds to look again; 0.0: in the loop's next turn. None:
        there is no process for the next one now, or it waits for the end of a trial.

        Raises:
            PoolClosed, HostStartError: as `host`. Sessions that have not come back go on waiting.
        """
        later_s = self._end_delays()
        left_s = self._bring_back()
        return min((wait for wait in (later_s, left_s) if wait is not None), default=None)

    def _end_delays(self) -> float | None:
        """Sessions that have waited for the next try to start their kernel wait for a process now.
        Returns after how many seconds the next one does."""
        now = self._loop.time()
        while self._later:
            session, (until, one) = next(iter(self._later.items()))
            if until > now:
                return until - now
            del self._later[session]
            (self._suspects if session.record.is_alone else self._together)[session] = one
        return None

    def _bring_back(self) -> float | None:
        until = self._loop.time() + _SLICE_S
        while self._together:
            left_s = self._rebuilds.left_s()  # computed before the sessions below take time
            host = self._host(self._rebuilds)
            if host is None:
                return left_s
            self._rebuild(self._together.popitem(last=False)[1], host)
            if self._loop.time() >= until:
                return 0.0
        if not self._suspects:
            return None
        host = self._host_for_suspect({session.host for session in self._trials})
        if host is None:
            return None
        self._try(self._suspects.popitem(last=False)[1], host)
        return 0.0

    def forget(self, session: BaseSession) -> None:
        """This session was closed: it waits no more."""
        self._together.pop(session, None)
        self._suspects.pop(session, None)
        self._later.pop(session, None)
        session.end(None)

    def take_all(self) -> list[BaseSession]:
        """The sessions that wait. From now on none waits, and no trial is under way."""
        waiting = self.sessions
        self._together.clear()
        self._suspects.clear()
        self._later.clear()
        for session in list(self._trials):
            self._end_trial(session)
        return waiting

    def _rebuild(self, one: _Waiting, host: Host) -> None:
        session = one.session
        self._resume(one, host, alone=False)
        if not session.over:
            session.record.on_rebuild_over = functools.partial(self._rebuild_over, session)
            self._rebuilds.begun(session, host)

    def _rebuild_over(self, session: BaseSession) -> None:
        self._rebuilds.ended(session)
        if self._together:
            self._look()

    def _try(self, one: _Waiting, host: Host) -> None:
        session = one.session
        over = functools.partial(self._trial_over, session)
        session.record.on_rebuild_over = over
        passed = functools.partial(self._trial_passed, session)
        self._trials[session] = PatientTimer(self._loop, _TRIAL_PATIENCE_S, passed)
        self._resume(one, host, alone=True)
        if session.over:
            over()

    def _resume(self, one: _Waiting, host: Host, *, alone: bool) -> None:
        if one.death is not None:
            self._progress.came_back(one.session)
        _resume(one, host, alone=alone)

    def _that_lost_their_process(self) -> list[BaseSession]:
        waiting = (*self._together.values(), *self._suspects.values())
        return [one.session for one in waiting if one.death is not None]

    def _trial_passed(self, session: BaseSession) -> None:
        """The session on trial has run for 10 s without ending its process: the next suspect may
        come back."""
        session.record.is_alone = session.record.is_unproven = False
        self._trial_over(session)

    def _trial_over(self, session: BaseSession) -> None:
        if session in self._trials:  # its 10 s may have passed, so that it is not on trial any more
            self._end_trial(session)
            self._look()

    def _end_trial(self, session: BaseSession) -> None:
        session.record.on_rebuild_over = None
        self._trials.pop(session).cancel()


def _resume(one: _Waiting, host: Host, *, alone: bool) -> None:
    """Bring the session back on the host. If that fails, only this session ends."""
    session = one.session
    try:
        lost = session.resume(host, without_running=one.guilty, alone=alone)
        if one.death is not None:
            session.on_recovered(one.death, lost, guilty=one.guilty)
    except SessionClosed:
        session.end(None)
    except Exception as error:
        logger.exception(
            "a session cannot come back", app=session.app.path, session=session.session_id
        )
        session.fail(
            KernelFailed(
                f"session {session.session_id} of {session.app.name} cannot come back: {error}",
                remedy="open a new session",
            )
        )


def _involved(session: BaseSession) -> Involved[BaseSession]:
    record = session.record
    return Involved(
        session,
        session.acted_at,
        running=session.is_running,
        rebuilding=record.is_rebuilding,
        alone=record.is_alone,
        unproven=record.is_unproven,
        strikes=record.strikes,
        has_news=session.acted_at > record.suspended_at,
    )
