"""`Returning`: the sessions of an app that wait for a process, and how they come back on it.

    died ─▶ planned ─▶ together: all at once, when there is a process
                 └───▶ one by one, the suspects: each when the one before has run

The order is decided in `recovery`, when there is a process by `app`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from mpkernel.errors import HostDied
from mpkernel.logs import get_logger
from mpkernel.server.deaths import Death, Reason, culprit_of
from mpkernel.server.recovery import Involved, plan_of
from mpkernel.server.session_link import SessionLink

if TYPE_CHECKING:
    from mpkernel.server.host import AppHost

__all__ = ["Returning"]

logger = get_logger(__name__)

_SUSPECT_PATIENCE_S = 10.0


class _Waiting(NamedTuple):
    """A session that waits for a process.

    Attributes:
        session: which.
        death: how its last process died; None for a new session.
        guilty: whether it was the session's fault.
    """

    session: SessionLink
    death: Death | None
    guilty: bool


class Returning:
    """One app's. On the loop's thread.

    Args:
        app: absolute path of its file.
        loop: the running loop.
        host: gives the host that takes sessions; None when there is none.
    """

    def __init__(
        self, app: str, loop: asyncio.AbstractEventLoop, host: Callable[[], AppHost | None]
    ) -> None:
        self._app = app
        self._loop = loop
        self._host = host
        self._together: list[_Waiting] = []
        self._suspects: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._together) + len(self._suspects)

    def add(self, session: SessionLink) -> None:
        """A new session, which waits for its first process."""
        self._together.append(_Waiting(session, None, guilty=False))

    def plan(self, death: Death, sessions: list[SessionLink]) -> None:
        """These were on a process that died: order them, and end the one that has done it too
        often. Suspects of an earlier death who still wait, wait on."""
        culprit = culprit_of(
            death,
            {session: session.thread for session in sessions if session.thread is not None},
            [session for session in sessions if session.is_running],
        )
        involved = [_involved(session) for session in sessions]
        if death.reason is Reason.OPERATOR:
            involved = [one._replace(running=False) for one in involved]  # nobody is a suspect
        plan = plan_of(involved, culprit)
        self.hold()
        if plan.culprit is not None:
            plan.culprit.record.strikes += 1
            logger.warning(
                "session ended its process strikes=%d",
                plan.culprit.record.strikes,
                app=self._app,
                session=plan.culprit.session_id,
                pid=death.pid,
            )
        for session in sessions:
            session.record.on_settled = None
        self._together += [_Waiting(session, death, False) for session in plan.together]
        self._suspects.extend(
            _Waiting(session, death, session is plan.culprit) for session in plan.one_by_one
        )
        if plan.closed and plan.culprit is not None:
            plan.culprit.end(
                HostDied(
                    f"{death.what}, and it was this session again", remedy="open the session again"
                )
            )

    def bring_back(self, host: AppHost) -> None:
        """There is a process: have them come back on it, the suspects one by one."""
        together, self._together = self._together, []
        for one in together:
            _resume(one, host, alone=False)
        if self._timer is None:
            self._next_suspect()

    def hold(self) -> None:
        """Bring back no suspect before the next `bring_back`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget(self, session: SessionLink) -> None:
        """This one was closed."""
        self._together = [one for one in self._together if one.session is not session]
        self._suspects = deque(one for one in self._suspects if one.session is not session)
        session.end(None)

    def take_all(self) -> list[SessionLink]:
        """Who waits; nobody does from now on."""
        waiting = [one.session for one in (*self._together, *self._suspects)]
        self._together = []
        self._suspects.clear()
        return waiting

    def _next_suspect(self) -> None:
        self.hold()
        host = self._host()
        if not self._suspects or host is None:
            return
        one = self._suspects.popleft()
        if self._suspects:
            one.session.record.on_settled = self._next_suspect
            self._timer = self._loop.call_later(_SUSPECT_PATIENCE_S, self._next_suspect)
        _resume(one, host, alone=True)


def _resume(one: _Waiting, host: AppHost, *, alone: bool) -> None:
    if one.session.over or not one.session.can_be_rebuilt:
        one.session.end(None)
        return
    lost = one.session.resume(host, without_running=one.guilty, alone=alone)
    if one.death is not None:
        one.session.on_recovered(one.death, lost, guilty=one.guilty)


def _involved(session: SessionLink) -> Involved[SessionLink]:
    record = session.record
    return Involved(
        session,
        session.acted_at,
        running=session.is_running,
        rebuilding=record.is_rebuilding,
        alone=record.is_alone,
        strikes=record.strikes,
    )
