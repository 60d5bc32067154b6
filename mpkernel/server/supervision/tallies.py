"""`Tallies`: counts what has happened to an app since its first session, for its operator's charts.

Counts only grow: what was counted of a process stays in them when the process is gone. `snapshot`
and `metrics` show the numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from mpkernel.server.supervision.deaths import Reason

__all__ = ["BOUNDS_S", "AppTotals", "Histogram", "Latencies", "Tallies", "Traffic"]

BOUNDS_S = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""The upper bound of each bucket of a histogram, in seconds. One more bucket holds all that is
above the last bound."""


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took, each time that it happened, as a histogram.

    Attributes:
        counts: for each of `BOUNDS_S`, how often it took at most so long, and longer than the bound
            before. The last count is for all that took longer than the last bound.
        sum_s: the sum of all durations.
    """

    counts: tuple[int, ...]
    sum_s: float

    @classmethod
    def sum(cls, latencies: Iterable[Latencies]) -> Latencies:
        """The sum of several histograms."""
        known = [cls(counts=(0,) * (len(BOUNDS_S) + 1), sum_s=0.0), *latencies]
        counts = tuple(map(sum, zip(*(one.counts for one in known), strict=True)))
        return cls(counts=counts, sum_s=sum(one.sum_s for one in known))


class Histogram:
    """Counts durations by their size. On the loop's thread."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self._sum_s += duration_s

    def latencies(self) -> Latencies:
        """What was observed until now."""
        return Latencies(counts=tuple(self._counts), sum_s=self._sum_s)


class Traffic(NamedTuple):
    """What went between processes and their server.

    Attributes:
        messages: how many messages came from the processes.
        sent: how many were sent to them, or wait for their Pipe.
        output_bytes: how many bytes came for clients.
    """

    messages: int = 0
    sent: int = 0
    output_bytes: int = 0

    @classmethod
    def sum(cls, traffics: Iterable[Traffic]) -> Traffic:
        """The sum of several."""
        return cls(*map(sum, zip(cls(), *traffics, strict=True)))


class AppTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened to an app since its first session.

    Attributes:
        starts: how many processes were started for it, or adopted.
        deaths: how many processes ended by themselves, were restarted or could not be started, by
            the reason in a word. Reasons that have not occurred are left out.
        sessions: how many sessions were opened.
        messages: how many messages came from its processes.
        sent: how many messages were sent to them.
        kernel_input_bytes: how many bytes were sent to its kernels.
        kernel_output_bytes: how many bytes its kernels have sent.
        host_start: how long it took from the launch of a process until it was ready.
        session_start: how long it took from the opening of a session until its kernel's thread ran.
        ping: how long it took from a ping of a process to its answer.
    """

    starts: int
    deaths: dict[str, int]
    sessions: int
    messages: int
    sent: int
    kernel_input_bytes: int
    kernel_output_bytes: int
    host_start: Latencies
    session_start: Latencies
    ping: Latencies

    @classmethod
    def sum(cls, totals: Iterable[AppTotals]) -> AppTotals:
        """What has happened to several apps together."""
        known = list(totals)
        deaths: Counter[str] = Counter()
        for one in known:
            deaths.update(one.deaths)
        return cls(
            starts=sum(one.starts for one in known),
            deaths=dict(deaths),
            sessions=sum(one.sessions for one in known),
            messages=sum(one.messages for one in known),
            sent=sum(one.sent for one in known),
            kernel_input_bytes=sum(one.kernel_input_bytes for one in known),
            kernel_output_bytes=sum(one.kernel_output_bytes for one in known),
            host_start=Latencies.sum(one.host_start for one in known),
            session_start=Latencies.sum(one.session_start for one in known),
            ping=Latencies.sum(one.ping for one in known),
        )


class Tallies:
    """The counts of one app. On the loop's thread.

    Attributes:
        starts, sessions: see `AppTotals`.
        deaths: how many, by reason.
        traffic: that of processes that are gone.
        kernel_input_bytes: of what was sent to kernels, the bytes that they have taken.
        host_start, session_start, ping: see `AppTotals`.
    """

    def __init__(self) -> None:
        self.starts = 0
        self.deaths: Counter[Reason] = Counter()
        self.sessions = 0
        self.traffic = Traffic()
        self.kernel_input_bytes = 0
        self.host_start = Histogram()
        self.session_start = Histogram()
        self.ping = Histogram()

    def totals(self, living: Iterable[Traffic], *, outstanding_bytes: int) -> AppTotals:
        """All counts until now.

        Args:
            living: the traffic of each process that lives.
            outstanding_bytes: what was sent to kernels of sessions that live, and not yet taken.
        """
        traffic = Traffic.sum((self.traffic, *living))
        return AppTotals(
            starts=self.starts,
            deaths={reason.value: count for reason, count in self.deaths.items()},
            sessions=self.sessions,
            messages=traffic.messages,
            sent=traffic.sent,
            kernel_input_bytes=self.kernel_input_bytes + outstanding_bytes,
            kernel_output_bytes=traffic.output_bytes,
            host_start=self.host_start.latencies(),
            session_start=self.session_start.latencies(),
            ping=self.ping.latencies(),
        )
