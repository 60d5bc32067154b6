"""`HostWatch`: decides what is to be done about a host, from its samples and its pongs. No I/O.

    memory over the soft limit     REFUSE new sessions, and ACCEPT them when it is well below again
    memory over the hard limit     RESTART at once, before all other apps of the machine suffer
    no pong, and no CPU time used  RESTART: it is stopped or blocked; one that computes is only busy
    threads, descriptors, age      REPLACE: it still works, so its sessions may stay until they end

It also decides how often a host is looked at and pinged: a host that computes nothing is left alone
for longer, so that a server of many idle apps has little to do.

It has no clock and no process of its own: `watchdog` gives it the samples, and `host` and `app`
carry out what it decides.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import NamedTuple

from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.usage import Usage, cpus_of
from mpkernel.settings import Settings

__all__ = ["Action", "HostWatch", "Verdict"]

_HISTORY_SAMPLES = 60
_RELIEF = 0.9
# A share of the time that passed. Idle threads of libraries use less CPU time than this; a process
# that computes uses more, however slow the machine is.
_SHARE_OF_THE_LIVING = 0.005
_STEPS_OF_A_HANG = 4
_STILL_SAMPLES = 4
_REST = 4
"""A host is at rest after `_STILL_SAMPLES` samples in a row that show no CPU time used. Then it is
sampled and pinged `_REST` times less often."""


class Action(enum.Enum):
    """What to do about a host."""

    REFUSE = "refuse"
    """Open no new sessions on it for now."""
    ACCEPT = "accept"
    """Open new sessions on it again."""
    REPLACE = "replace"
    """Drain it: new sessions go to a fresh host, and the old one leaves with its last session."""
    RESTART = "restart"
    """End it now. Its sessions come back on a fresh host."""


class Verdict(NamedTuple):
    """What to do about a host, and why.

    Attributes:
        action: what to do.
        reason: why: `LIMIT` or `HANG`.
        what: why, as the end of a sentence that begins with the host.
    """

    action: Action
    reason: Reason
    what: str


class HostWatch:
    """Judges one host. Each verdict is given once. After `RESTART` there are no more.

    Args:
        settings: `memory_soft_bytes`, `memory_hard_bytes`, `ping_interval_s`, `ping_timeout_s`,
            `max_threads`, `max_descriptors`, `max_age_s`.
        born_at: when the host was launched, by the clock of `Usage.taken_at`. All times here are by
            that clock.

    Attributes:
        cpus: how many processors it used between the last two samples; see `cpus_of`.
    """

    def __init__(self, settings: Settings, born_at: float) -> None:
        self.cpus: float | None = None
        self._settings = settings
        self._born_at = born_at
        self._history: deque[Usage] = deque(maxlen=_HISTORY_SAMPLES)
        self._is_short_of_memory = False
        self._is_outgrown = False
        self._is_ended = False
        self._ping = 0  # the number of the last ping
        self._pinged_at = float("-inf")
        self._is_answered = True
        self._alive_at = born_at  # when a ping was sent, or the host was last seen to compute since
        self._alive_cpu_s = 0.0  # the CPU time that it had used at `_alive_at`
        self._still_samples = 0  # how many of the latest samples, in a row, show no CPU time used
        self._turns_left_out = 0

    @property
    def history(self) -> tuple[Usage, ...]:
        """The latest samples, the oldest first: about a minute at the default interval."""
        return tuple(self._history)

    @property
    def pinged_at(self) -> float:
        """When the last ping was sent."""
        return self._pinged_at

    def launched(self, at: float) -> None:
        """Say when the host was really launched, if it had to wait for a machine. To be called
        before its first sample."""
        self._born_at = at

    def sample_is_due(self) -> bool:
        """Whether to take a sample in this turn of the watchdog. To be asked once in each."""
        self._turns_left_out += 1
        if self._is_at_rest and self._turns_left_out < _REST:
            return False
        self._turns_left_out = 0
        return True

    def sampled(self, usage: Usage) -> list[Verdict]:
        """Take a sample, and give the verdicts that follow from it."""
        since_last_s = 0.0
        if self._history:
            last = self._history[-1]
            since_last_s = usage.taken_at - last.taken_at
            self._still_samples = self._still_samples + 1 if usage.cpu_s == last.cpu_s else 0
        self._history.append(usage)
        self.cpus = cpus_of(self._history)
        if self._is_ended:
            return []
        ending = self._over_hard_limit(usage) or self._hang(usage, since_last_s)
        if ending is not None:
            self._is_ended = True
            return [ending]
        lesser = (self._over_soft_limit(usage), self._outgrown(usage))
        return [verdict for verdict in lesser if verdict is not None]

    def ping_is_due(self, now: float) -> bool:
        """Whether to send a ping. No ping is sent while the last one is not answered, so that they
        do not pile up in a Pipe that nobody reads."""
        settings = self._settings
        if settings.ping_timeout_s is None or not self._is_answered:
            return False
        interval_s = settings.ping_interval_s * (_REST if self._is_at_rest else 1)
        return now - self._pinged_at >= interval_s

    def pinged(self, now: float) -> int:
        """Say that a ping is about to be sent. Returns its number."""
        self._ping += 1
        self._pinged_at = self._alive_at = now
        self._alive_cpu_s = self._history[-1].host_cpu_s if self._history else 0.0
        self._is_answered = False
        return self._ping

    def ponged(self, number: int) -> bool:
        """Say that the host answered. False if no answer with this number is waited for."""
        if number != self._ping or self._is_answered:
            return False
        self._is_answered = True
        return True

    @property
    def _is_at_rest(self) -> bool:
        """Whether the host may be sampled less often. It may not if it has a limit on memory, which
        must be noticed within a turn, nor while a ping is unanswered: then its CPU time is
        needed."""
        settings = self._settings
        return (
            self._still_samples >= _STILL_SAMPLES
            and self._is_answered
            and settings.memory_soft_bytes is None
            and settings.memory_hard_bytes is None
        )

    def _over_hard_limit(self, usage: Usage) -> Verdict | None:
        limit = self._settings.memory_hard_bytes
        if limit is None or usage.rss_bytes <= limit:
            return None
        return _for_limit(Action.RESTART, f"used {_memory(usage)}", "memory_hard_bytes", limit)

    def _over_soft_limit(self, usage: Usage) -> Verdict | None:
        limit = self._settings.memory_soft_bytes
        if limit is None:
            return None
        if not self._is_short_of_memory and usage.rss_bytes > limit:
            self._is_short_of_memory = True
            return _for_limit(Action.REFUSE, f"uses {_memory(usage)}", "memory_soft_bytes", limit)
        if self._is_short_of_memory and usage.rss_bytes < _RELIEF * limit:
            self._is_short_of_memory = False
            what = f"uses {_memory(usage)} again"
            return _for_limit(Action.ACCEPT, what, "memory_soft_bytes", limit)
        return None

    def _hang(self, usage: Usage, since_last_s: float) -> Verdict | None:
        timeout_s = self._settings.ping_timeout_s
        if timeout_s is None or self._is_answered:
            return None
        # While the server itself was stopped, it read no pongs. So such a pause hardly counts.
        self._alive_at += max(0.0, since_last_s - timeout_s / _STEPS_OF_A_HANG)
        silent_s = usage.taken_at - self._alive_at
        if usage.host_cpu_s - self._alive_cpu_s > _SHARE_OF_THE_LIVING * silent_s:
            self._alive_at, self._alive_cpu_s = usage.taken_at, usage.host_cpu_s
            return None
        if silent_s < timeout_s:
            return None
        what = f"did not answer for {silent_s:.0f} s and computed nothing meanwhile"
        return Verdict(Action.RESTART, Reason.HANG, f"{what} (ping_timeout_s is {timeout_s:g})")

    def _outgrown(self, usage: Usage) -> Verdict | None:
        if self._is_outgrown:
            return None
        age_s = usage.taken_at - self._born_at
        for name, value, what in (
            ("max_threads", usage.threads, f"has {usage.threads} threads"),
            ("max_descriptors", usage.descriptors, f"has {usage.descriptors} open descriptors"),
            ("max_age_s", age_s, f"has run for {age_s:.0f} s"),
        ):
            limit = getattr(self._settings, name)
            if limit is not None and value is not None and value > limit:
                self._is_outgrown = True
                return _for_limit(Action.REPLACE, what, name, limit)
        return None


def _for_limit(action: Action, what: str, setting: str, limit: float) -> Verdict:
    bound = _mib(limit) if setting.endswith("_bytes") else f"{limit:g}"
    return Verdict(action, Reason.LIMIT, f"{what} ({setting} is {bound})")


def _memory(usage: Usage) -> str:
    among = f" in {usage.processes} processes" if usage.processes > 1 else ""
    return f"{_mib(usage.rss_bytes)} of memory{among}"


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"
