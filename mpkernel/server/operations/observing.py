"""Takes a snapshot of a pool. `snapshot` says what is in one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from mpkernel.aio.slices import in_slices
from mpkernel.server.apps.app import App
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.launching.standbys import Standbys
from mpkernel.server.operations.snapshot import (
    AppSnapshot,
    HostSnapshot,
    Limits,
    PoolSnapshot,
    SessionSnapshot,
)
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.tallies import AppTotals
from mpkernel.settings import Settings
from shm import Registry
from shm.names import owner_of

__all__ = ["Observed", "Rates", "snapshot_of"]


class Observed(Protocol):
    """What is needed of a pool to take a snapshot of it."""

    files: Registry
    standby: Standbys
    one_of: str | None
    settings: Settings

    @property
    def forgotten(self) -> AppTotals:
        """What has happened to apps that are among `apps` no more."""

    @property
    def apps(self) -> Sequence[App]:
        """The apps that have had a session, except those that are forgotten."""

    @property
    def closed(self) -> bool:
        """Whether it takes no sessions any more."""


class Rates:
    """How often something happens, computed from counts at two moments.

    Args:
        window_s: how long there is between these moments, at least. Default 2.
    """

    def __init__(self, *, window_s: float = 2.0) -> None:
        self._window_s = window_s
        self._marks: dict[int, tuple[float, tuple[int, ...]]] = {}
        self._rates: dict[int, tuple[float, ...]] = {}

    def per_s(self, key: int, counts: tuple[int, ...], now: float) -> tuple[float, ...]:
        """The rate of each count that was reached by `now`; 0.0 until two moments are known."""
        since, before = self._marks.setdefault(key, (now, counts))
        if now - since >= self._window_s:
            self._rates[key] = tuple(
                max(0, count - earlier) / (now - since)
                for count, earlier in zip(counts, before, strict=True)
            )
            self._marks[key] = (now, counts)
        return self._rates.get(key, (0.0,) * len(counts))

    def keep(self, keys: set[int]) -> None:
        """Forget the counts of all others."""
        for gone in self._marks.keys() - keys:
            del self._marks[gone]
            self._rates.pop(gone, None)


async def snapshot_of(pool: Observed, rates: Rates) -> PoolSnapshot:
    """What the pool looks like now. On the loop's thread.

    First, sessions are looked at in slices of the loop's time; then everything else, at once. So
    the apps, the processes and the lists of their sessions are as of the end. A session that is
    opened meanwhile is only in the next snapshot.

    Args:
        pool: the pool.
        rates: keeps the counts of earlier snapshots.
    """
    seen: dict[BaseSession, SessionSnapshot] = {}

    def look_at(session: BaseSession) -> None:
        seen[session] = _session(session)

    sessions = [one for app in pool.apps for host in app.hosts for one in host.sessions]
    await in_slices(sessions, look_at)
    now = time.monotonic()
    bytes_by_pid = _bytes_by_pid(pool.files)
    apps = [_app(app, seen, bytes_by_pid, rates, now) for app in pool.apps]
    rates.keep({host.pid for app in apps for host in app.hosts})
    return PoolSnapshot(
        apps=apps,
        totals=AppTotals.sum((pool.forgotten, *(app.totals for app in apps))),
        standby=pool.standby.pids,
        files=len(pool.files),
        files_bytes=sum(bytes_by_pid.values()),
        is_leaving=pool.closed,
        one_of=pool.one_of,
        standby_wanted=pool.settings.standby,
        files_limit_bytes=pool.settings.files_bytes,
    )


def _app(
    app: App,
    seen: Mapping[BaseSession, SessionSnapshot],
    bytes_by_pid: Mapping[int, int],
    rates: Rates,
    now: float,
) -> AppSnapshot:
    death = app.last_death
    hosts = [_host(app, host, seen, bytes_by_pid, rates, now) for host in app.hosts]
    totals = app.tallies.totals(
        (host.traffic for host in app.hosts),
        # As of now, not as of the slices above: bytes that a kernel has taken since then would be
        # counted twice, and the counter would later fall.
        outstanding_bytes=sum(one.outstanding_bytes for host in app.hosts for one in host.sessions),
    )
    return AppSnapshot(
        path=app.path,
        name=app.name,
        is_failed=app.is_failed,
        waiting=app.waiting_count,
        deaths=app.death_count,
        last_reason=death.reason.value if death is not None else None,
        last_death=death.what if death is not None else None,
        hosts=hosts,
        totals=totals,
        limits=_limits(app.settings),
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        processes_max=settings.processes_max,
        sessions_max=settings.sessions_max,
        sessions_per_process=settings.sessions_per_process,
        memory_soft_bytes=settings.memory_soft_bytes,
        memory_hard_bytes=settings.memory_hard_bytes,
        max_threads=settings.max_threads,
        max_descriptors=settings.max_descriptors,
    )


def _host(
    app: App,
    host: AppHost,
    seen: Mapping[BaseSession, SessionSnapshot],
    bytes_by_pid: Mapping[int, int],
    rates: Rates,
    now: float,
) -> HostSnapshot:
    usages = host.usages
    usage = usages[-1] if usages else None
    traffic = host.traffic
    messages_per_s, sent_per_s = rates.per_s(host.pid, (traffic.messages, traffic.sent), now)
    return HostSnapshot(
        pid=host.pid,
        number=app.number_of(host),
        state=host.state.value,
        refusal=host.refusal,
        started_at=host.started_at,
        rss_bytes=usage.rss_bytes if usage is not None else None,
        cpu=host.cpus,
        threads=usage.threads if usage is not None else None,
        descriptors=usage.descriptors if usage is not None else None,
        processes=usage.processes if usage is not None else None,
        messages=traffic.messages,
        sent=traffic.sent,
        messages_per_s=round(messages_per_s, 1),
        sent_per_s=round(sent_per_s, 1),
        backlog_bytes=host.backlog_bytes,
        files_bytes=bytes_by_pid.get(host.pid, 0),
        sessions=[seen[session] for session in host.sessions if session in seen],
        environment=host.environment,
        is_preparing=host.is_preparing,
        python=host.python,
        confine=host.settings.confine,
        launch_wrapper=host.settings.launch_wrapper,
        worker=host.worker,
        pid_on_worker=host.pid_on_worker,
    )


def _session(session: BaseSession) -> SessionSnapshot:
    traffic = session.traffic
    return SessionSnapshot(
        session_id=session.session_id,
        is_running=session.is_running,
        running=traffic.running,
        done=traffic.done,
        window_used_bytes=traffic.outstanding_bytes,
        waiting_bytes=traffic.waiting_bytes,
        acted_at=session.acted_at,
        strikes=session.record.strikes,
        running_since=session.running_since,
    )


def _bytes_by_pid(files: Registry) -> Counter[int]:
    """How many bytes the files of each process hold. The name of their owner says which process it
    is."""
    held: Counter[str | int] = Counter()
    for owner, size in files.bytes_held().items():
        held[owner.host] += size
    by_pid: Counter[int] = Counter()
    for host, size in held.items():
        tag = owner_of(str(host))
        by_pid[tag.pid if tag is not None else 0] += size
    return by_pid
