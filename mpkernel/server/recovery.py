"""What follows a death: when a process is started again, and what becomes of each session.

Everything here decides from the facts that it is given; it owns no process, no clock and no loop.
`app` carries it out.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

from mpkernel.settings import Settings

__all__ = ["Involved", "Plan", "RecoveryRecord", "RestartPolicy", "plan_of"]

_CLOSED_AT_STRIKES = 3

Key = TypeVar("Key", bound=Hashable)
"""How the caller tells sessions apart. Not their names: nothing makes these unique."""


class RestartPolicy:
    """When an app's process may be started after deaths: at once after the first, then later and
    later; after too many, not before a cool-down.

    Args:
        settings: `restart_limit`, `restart_window_s`, `restart_backoff_s`,
            `restart_backoff_max_s`, `restart_cool_down_s`.
        jitter: gives a number from 0 to 1: so that apps that died together do not start together.
    """

    def __init__(self, settings: Settings, jitter: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._jitter = jitter
        self._deaths: deque[float] = deque()
        self._not_before = float("-inf")
        self._refusals = 0
        self.failed = False

    @property
    def is_refused(self) -> bool:
        """Whether the last process that was wanted could not be had."""
        return self._refusals > 0

    def died(self, now: float) -> None:
        """A process died.

        Args:
            now: seconds of a monotonic clock.
        """
        settings = self._settings
        self._deaths.append(now)
        while self._deaths[0] <= now - settings.restart_window_s:
            self._deaths.popleft()
        if len(self._deaths) > settings.restart_limit:
            self.failed = True
            self._deaths.clear()
            self._not_before = now + settings.restart_cool_down_s
            return
        earlier = len(self._deaths) - 1
        self._not_before = now + self._backoff_s(earlier) if earlier else now

    def refused(self, now: float) -> None:
        """The system gave no process. That is no death: however often it happens, the app has not
        failed, and is started when there is one again.

        Args:
            now: seconds of a monotonic clock.
        """
        self._refusals += 1
        self._not_before = now + self._backoff_s(self._refusals)

    def launched(self) -> None:
        """There is a process."""
        self._refusals = 0

    def wait_s(self, now: float) -> float:
        """How long until a process may be started; 0.0 for now."""
        left = max(0.0, self._not_before - now)
        if not left:
            self.failed = False
        return left

    def is_calm(self, now: float) -> bool:
        """Whether nothing that happened matters any more: a fresh policy would decide the same."""
        has_died = bool(self._deaths) and self._deaths[-1] > now - self._settings.restart_window_s
        return not (has_died or self._refusals or self.wait_s(now))

    def _backoff_s(self, times: int) -> float:
        settings = self._settings
        # A power of more is no number any more, and the longest wait comes long before.
        longest = settings.restart_backoff_s * 2.0 ** min(times - 1, 100)
        return min(longest, settings.restart_backoff_max_s) * (0.5 + 0.5 * self._jitter())


class RecoveryRecord:
    """What recovery knows of a session. On the loop's thread.

    Attributes:
        strikes: how often it has ended its process.
        settled_after: how many commands its kernel does until it is where it was.
        is_rebuilding: whether it has not done these yet.
        is_alone: whether it was brought back alone, as a suspect.
        suspended_at: when it lost its last process; `time.monotonic()`.
        on_trial_over: called once, when the session has done them, is over, or has lost its
            process.
    """

    def __init__(self) -> None:
        self.strikes = 0
        self.settled_after = 0
        self.is_rebuilding = False
        self.is_alone = False
        self.suspended_at = float("-inf")
        self.on_trial_over: Callable[[], None] | None = None

    def rebuilding(self, commands: int, *, alone: bool) -> None:
        """It is brought back, with so many commands."""
        self.settled_after = commands
        self.is_rebuilding = True
        self.is_alone = alone

    def settle(self) -> None:
        """The session is where it was."""
        self.is_rebuilding = self.is_alone = False
        self.end_trial()

    def end_trial(self) -> None:
        """Nobody needs to wait for the session any more: it is settled, over, or without a
        process."""
        call, self.on_trial_over = self.on_trial_over, None
        if call is not None:
            call()


class Involved(NamedTuple, Generic[Key]):
    """A session of a process that died, as far as its fate depends on it.

    Attributes:
        session: which.
        acted_at: when its client last sent something; seconds of a monotonic clock.
        running: whether its kernel was running a command.
        rebuilding: whether that was what brings it back after an earlier death.
        alone: whether it was brought back alone, as a suspect.
        strikes: how often it has ended its process before.
        has_news: whether its client has sent something since that death.
    """

    session: Key
    acted_at: float
    running: bool = False
    rebuilding: bool = False
    alone: bool = False
    strikes: int = 0
    has_news: bool = False

    @property
    def is_on_trial(self) -> bool:
        """Whether it was about to show whether it is what ends processes."""
        return self.running and self.rebuilding and self.alone


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


def plan_of(sessions: Iterable[Involved[Key]], culprit: Key | None) -> Plan[Key]:
    """Who is rebuilt, and in which order.

    A culprit comes back last and without the command that it ran; the third time, or when it is
    the rebuilding that ended the process once more, it does not. Without a culprit, those that ran
    are suspects: they come back last and one by one, so that the next death names its culprit. It
    does unless another session ran something new meanwhile: then both are suspects.

    Args:
        sessions: those that were on the process.
        culprit: the one that ended it, where its own record says so.
    """
    latest_first = sorted(sessions, key=lambda session: -session.acted_at)
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
    """Those that may have ended the process. While one is on trial, the others that only are being
    brought back did nothing when the process before died, and do nothing new now."""
    running = [one for one in sessions if one.running]
    if not any(one.is_on_trial for one in running):
        return running
    return [one for one in running if one.alone or one.has_news or not one.rebuilding]
