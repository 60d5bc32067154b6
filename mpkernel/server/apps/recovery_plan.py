"""Decides about each session after the death of its process: whether it comes back, and in which
order.

Everything here decides from the facts that it is given; it owns no process, no clock and no loop.
`waiting_sessions` carries it out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from mpkernel.server.supervision.deaths import Death, Reason

__all__ = ["Involved", "Plan", "culprit_of", "plan_of"]

_CLOSED_AT_STRIKES = 3
_CURRENT_THREAD = re.compile(r"^Current thread 0x([0-9a-f]+)", re.MULTILINE)

Key = TypeVar("Key", bound=Hashable)
"""How the caller tells sessions apart. Not their names: nothing makes these unique."""


class Involved(NamedTuple, Generic[Key]):
    """A session of a process that died, as far as its fate depends on it.

    Attributes:
        session: which.
        acted_at: when its client last sent something; seconds of a monotonic clock.
        running: whether its kernel was running a command.
        rebuilding: whether that was what brings it back after an earlier death.
        alone: whether it was brought back alone, as a suspect.
        unproven: whether what it ran before that was cut off by the loss or the restart of its
            process, so that it may end the process for all that is known.
        strikes: how often it has ended its process before.
        has_news: whether its client has sent something since that earlier death.
    """

    session: Key
    acted_at: float
    running: bool = False
    rebuilding: bool = False
    alone: bool = False
    unproven: bool = False
    strikes: int = 0
    has_news: bool = False

    @property
    def is_on_trial(self) -> bool:
        """Whether it was on trial: it was brought back alone, to see whether it ends the process
        again."""
        return self.running and self.is_suspected

    @property
    def is_suspected(self) -> bool:
        """Whether it was brought back alone, and has not run its commands since."""
        return self.rebuilding and self.alone

    @property
    def runs_something_unproven(self) -> bool:
        """Whether it ran what no process has survived yet."""
        return self.running and (self.has_news or self.unproven or not self.rebuilding)


class Plan(NamedTuple, Generic[Key]):
    """What becomes of the sessions of a process that died.

    Attributes:
        culprit: the one that ended it, as far as that can be told.
        together: to be rebuilt at once, in this order.
        one_by_one: to be rebuilt after those, each when the one before it has run.
        closed: whether the culprit is not to be rebuilt: it ends its process again and again.
    """

    culprit: Key | None
    together: list[Key]
    one_by_one: list[Key]
    closed: bool


def plan_of(
    sessions: Iterable[Involved[Key]], culprit: Key | None, *, was_lost: bool = False
) -> Plan[Key]:
    """Which sessions are rebuilt, and in which order.

    A culprit comes back last and without the command that it ran; the third time, or when it is
    the rebuilding that ended the process once more, it does not. Without a culprit, those that ran
    are suspects: they come back last and one by one, so that the next death names its culprit. If
    another session ran something new meanwhile, both are suspects. A process that was lost, or
    restarted by somebody, says nothing of its sessions: who was suspected before still is.

    Args:
        sessions: those that were on the process.
        culprit: the one that ended it, where its own record says so.
        was_lost: whether no session can have ended it.
    """
    latest_first = sorted(sessions, key=lambda session: -session.acted_at)
    if was_lost:
        suspects = [one for one in latest_first if one.is_suspected]
    else:
        suspects = _suspects_among(latest_first) if culprit is None else []
        if len(suspects) == 1 and suspects[0].is_on_trial:
            culprit = suspects[0].session
    together: list[Key] = []
    one_by_one: list[Key] = []
    closed = False
    for session in latest_first:
        if session.session == culprit:
            again = session.rebuilding and session.strikes > 0
            closed = again or session.strikes + 1 >= _CLOSED_AT_STRIKES
            if not closed:
                one_by_one.append(session.session)
        elif culprit is None and session in suspects:
            one_by_one.append(session.session)
        else:
            together.append(session.session)
    return Plan(culprit, together, one_by_one, closed)


def _suspects_among(sessions: list[Involved[Key]]) -> list[Involved[Key]]:
    """Those that may have ended the process. While one is on trial, others are not suspected if
    they are only being brought back: they ran nothing when the last process died, and run nothing
    new or unproven now."""
    running = [one for one in sessions if one.running]
    if not any(one.is_on_trial for one in running):
        return running
    return [one for one in running if one.alone or one.runs_something_unproven]


def culprit_of(death: Death, threads: Mapping[Key, int], running: Collection[Key]) -> Key | None:
    """The session whose command ended the process, if the record of the death names it; else None.

    The record of a crash names the thread that crashed. If that is not the thread of a session's
    kernel (user code may have started it), or if the process exited by itself, the culprit is the
    session that ran a command, if only one session did.

    Args:
        death: the record.
        threads: by session, the ident of its kernel's thread.
        running: the sessions whose kernels were running a command.
    """
    if death.reason not in (Reason.CRASH, Reason.EXIT):
        return None
    found = _CURRENT_THREAD.search(death.faults) if death.reason is Reason.CRASH else None
    if found is not None:
        ident = int(found[1], 16)
        named = next((session for session, thread in threads.items() if thread == ident), None)
        if named is not None:
            return named
    return next(iter(running)) if len(running) == 1 else None
