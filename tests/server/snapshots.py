"""Snapshots of servers that there are not, for tests of what is made of snapshots."""

from __future__ import annotations

from mpkernel.server.operations.snapshot import AppSnapshot, HostSnapshot, PoolSnapshot
from mpkernel.server.supervision.tallies import AppTotals, Tallies

__all__ = ["app_snapshot", "host_snapshot", "pool_of"]


def app_snapshot(path: str, tallies: Tallies, *hosts: HostSnapshot) -> AppSnapshot:
    return AppSnapshot(
        path=path,
        name="app",
        is_failed=False,
        waiting=0,
        deaths=0,
        last_reason=None,
        last_death=None,
        hosts=list(hosts),
        totals=tallies.totals((), outstanding_bytes=0),
    )


def host_snapshot(number: int, state: str = "ready", *, worker: str | None = None) -> HostSnapshot:
    return HostSnapshot(
        pid=1000 + number,
        number=number,
        state=state,
        refusal=None,
        started_at=0.0,
        rss_bytes=5,
        cpu=None,
        threads=3,
        descriptors=None,
        processes=1,
        messages=0,
        sent=0,
        messages_per_s=0.0,
        sent_per_s=0.0,
        backlog_bytes=0,
        files_bytes=0,
        sessions=[],
        worker=worker,
        pid_on_worker=500 + number if worker else None,
    )


def pool_of(*apps: AppSnapshot) -> PoolSnapshot:
    return PoolSnapshot(
        apps=list(apps),
        totals=AppTotals.sum(app.totals for app in apps),
        standby=[],
        files=0,
        files_bytes=0,
        is_leaving=False,
    )
