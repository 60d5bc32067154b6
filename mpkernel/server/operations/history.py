"""`History`: how much a server, its apps and their processes used over the last hour.

Time is divided into steps of ten seconds, numbered by the machine's monotonic clock; so the steps
of all servers have the same numbers. A curve has one value for each step, also for the step that is
not over yet: each look at the pool (a snapshot, taken once a second) sets that value anew. A value
that is not known is a NaN.

The memory is bounded: 4 bytes for a value, 397 steps at most, and `MAX_CURVES` curves. That is 8 MB
where there are so many, and 1 MB for fifty apps of one process each.
"""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from mpkernel.server.operations.snapshot import AppSnapshot, HostSnapshot, PoolSnapshot
from mpkernel.server.supervision.tallies import AppTotals, Latencies

__all__ = ["KEPT_STEPS", "MAX_CURVES", "STEP_S", "Curve", "History", "HistoryPart", "OrderRecord"]

STEP_S = 10.0
KEPT_STEPS = 360
MAX_CURVES = 500
_SLACK_STEPS = 36
"""So many steps more are kept before the oldest are dropped, so that this happens seldom."""

_KEPT_ORDERS = 50


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Values over time: of the whole server, of an app, or of a process of an app.

    Attributes:
        app: absolute path of the app's file; "" for the whole server.
        pid: the id of the process; 0 for all of them together.
        started_at: when that process was started, by the machine's monotonic clock; else 0.
        first: the number of the step that the first value of each line is for.
        lines: by the name of what was measured, a float of four bytes for each step, in this
            machine's byte order. The names are

            - memory_bytes, cpu, sessions, messages_per_s, sent_per_s
            - and, but for a process: processes, running, deaths, and ping_s and session_start_s,
              which are the means of what took place in the step.
    """

    app: str
    pid: int = 0
    started_at: float = 0.0
    first: int
    lines: dict[str, bytes]


class OrderRecord(msgspec.Struct, frozen=True):
    """An order that the server was given.

    Attributes:
        at: when; seconds since the epoch.
        who: who gave it, as the operator's program says.
        what: the order, in words.
        done: whether it was carried out.
        says: what became of it.
    """

    at: float
    who: str
    what: str
    done: bool
    says: str


class HistoryPart(msgspec.Struct, frozen=True, kw_only=True):
    """A history from some step on.

    Attributes:
        last: the number of the step that is not over yet.
        curves: those that have a value since then. Each begins at that step, or later.
        orders: the latest orders, the oldest first.
    """

    last: int
    curves: list[Curve]
    orders: list[OrderRecord]


class History:
    """The history of one server. One thread adds looks; any thread may read.

    Args:
        max_curves: how many curves are kept. Of those that have ended, the first to end are dropped
            first; when all go on, no more are begun.
    """

    def __init__(self, *, max_curves: int = MAX_CURVES) -> None:
        self._max_curves = max_curves
        self._lock = threading.Lock()  # guards all below
        self._curves: dict[_Key, _Growing] = {}
        self._orders: deque[OrderRecord] = deque(maxlen=_KEPT_ORDERS)
        self._last = int(time.monotonic() // STEP_S)

    def add(self, pool: PoolSnapshot, now: float) -> None:
        """Take over a look at the pool.

        Args:
            pool: what it looks like.
            now: when that was, by the machine's monotonic clock.
        """
        looks = _looks_at(pool)
        with self._lock:
            self._last = step = int(now // STEP_S)
            has_room = True  # not searched for again in this look, once there was none
            for key, look in looks.items():
                if (curve := self._curves.get(key)) is None:
                    has_room = has_room and self._has_room(step)
                    if not has_room:
                        continue
                    curve = self._curves[key] = _Growing(step)
                curve.add(look, step, now)
            for key in [one for one, has in self._curves.items() if has.end < step - KEPT_STEPS]:
                del self._curves[key]

    def add_order(self, order: OrderRecord) -> None:
        """Remember an order. The latest fifty are kept."""
        with self._lock:
            self._orders.append(order)

    def since(self, step: int) -> HistoryPart:
        """What is kept from this step on.

        Args:
            step: its number. What is older than an hour is left out in any case.
        """
        with self._lock:
            since = max(step, self._last - KEPT_STEPS)
            curves = [
                curve.told(key, since) for key, curve in self._curves.items() if curve.end >= since
            ]
            return HistoryPart(last=self._last, curves=curves, orders=list(self._orders))

    def _has_room(self, step: int) -> bool:
        """Whether one more curve may be kept; the one that ended first makes room for it."""
        if len(self._curves) < self._max_curves:
            return True
        key = min(self._curves, key=lambda one: self._curves[one].end)
        if self._curves[key].end >= step - 1:  # it may go on: it has not been looked at yet
            return False
        del self._curves[key]
        return True


class _Key(NamedTuple):
    app: str
    pid: int = 0
    started_at: float = 0.0


class _Look(NamedTuple):
    """What one look has found.

    Attributes:
        levels: values as they are now.
        cpu: as in `HostSnapshot`, of which the mean over the step is kept.
        counts: counts that only grow, of which the difference over the step is kept: messages that
            came, messages that were sent, and deaths.
        latencies: the same for these, of which the mean is kept.
    """

    levels: Mapping[str, float]
    cpu: float
    counts: Mapping[str, int]
    latencies: Mapping[str, Latencies]


class _Growing:
    """A curve, to which values are added."""

    def __init__(self, step: int) -> None:
        self._first = step
        self._lines: dict[str, array[float]] = {}
        self._looks = 0
        self._mark: tuple[float, _Look] | None = None  # the last look before this step
        self._before: tuple[float, _Look] | None = None
        self.end = step - 1  # the last step that has a value

    def add(self, look: _Look, step: int, now: float) -> None:
        if step > self.end:
            self._looks = 0
            self._mark, self.end = self._before, step
        self._looks += 1
        self._before = (now, look)
        if self._mark is None:  # a rate needs two looks
            self._mark = self._before
        for name, value in self._values(look, now).items():
            line = self._lines.setdefault(name, array("f"))
            line.extend([math.nan] * (step + 1 - self._first - len(line)))
            line[-1] = value
        length = step + 1 - self._first
        if length > KEPT_STEPS + _SLACK_STEPS:
            for line in self._lines.values():
                del line[: length - KEPT_STEPS]
            self._first += length - KEPT_STEPS

    def told(self, key: _Key, since: int) -> Curve:
        first = max(since, self._first)
        return Curve(
            app=key.app,
            pid=key.pid,
            started_at=key.started_at,
            first=first,
            lines={
                name: line[first - self._first :].tobytes() for name, line in self._lines.items()
            },
        )

    def _values(self, look: _Look, now: float) -> dict[str, float]:
        assert self._mark is not None
        since, mark = self._mark
        values = dict(look.levels)
        mean = self._lines["cpu"][-1] if self._looks > 1 else look.cpu
        values["cpu"] = mean + (look.cpu - mean) / self._looks
        for name, count in look.counts.items():
            more = max(0, count - mark.counts[name])
            if name.endswith("_per_s"):
                values[name] = more / (now - since) if now > since else 0.0
            else:
                values[name] = more
        for name, latencies in look.latencies.items():
            values[name] = _mean_since(mark.latencies[name], latencies)
        return values


def _mean_since(before: Latencies, after: Latencies) -> float:
    """The mean of what was observed between two moments; NaN if nothing was."""
    count = sum(after.counts) - sum(before.counts)
    return (after.sum_s - before.sum_s) / count if count > 0 else math.nan


def _looks_at(pool: PoolSnapshot) -> dict[_Key, _Look]:
    hosts = [host for app in pool.apps for host in app.hosts]
    looks = {_Key(""): _together(hosts, pool.totals)}
    for app in pool.apps:
        looks |= _looks_at_app(app)
    return looks


def _looks_at_app(app: AppSnapshot) -> dict[_Key, _Look]:
    looks = {_Key(app.path): _together(app.hosts, app.totals)}
    for host in app.hosts:
        looks[_Key(app.path, host.pid, host.started_at)] = _Look(
            _levels([host]),
            _cpu([host]),
            {"messages_per_s": host.messages, "sent_per_s": host.sent},
            {},
        )
    return looks


def _together(hosts: list[HostSnapshot], totals: AppTotals) -> _Look:
    running = sum(one.is_running for host in hosts for one in host.sessions)
    return _Look(
        {**_levels(hosts), "processes": len(hosts), "running": running},
        _cpu(hosts),
        {
            "messages_per_s": totals.messages,
            "sent_per_s": totals.sent,
            "deaths": sum(totals.deaths.values()),
        },
        {"ping_s": totals.ping, "session_start_s": totals.session_start},
    )


def _levels(hosts: list[HostSnapshot]) -> dict[str, float]:
    return {
        "memory_bytes": sum(host.rss_bytes or 0 for host in hosts),
        "sessions": sum(len(host.sessions) for host in hosts),
    }


def _cpu(hosts: list[HostSnapshot]) -> float:
    return sum(host.cpu or 0.0 for host in hosts)
