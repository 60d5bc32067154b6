"""The calendar jumps by a day, forward or back: no time-out depends on it, and no process is taken
for another."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from faults.clocks import DAY_S, Calendar
from faults.limits import cpu_share
from faults.served import STORE, Served
from waiting import until

import shm
from mpkernel.server.operations.crashes import kept_reports
from mpkernel.server.operations.finding import published_servers
from mpkernel.server.operations.snapshot import HostSnapshot
from shm.names import tag_of

WATCHED = {
    "watch_interval_s": 0.2,
    "ping_interval_s": 0.2,
    "ping_timeout_s": 2.0,
    "max_age_s": 60.0,
}


@pytest.fixture
def calendar(folder: Path) -> Calendar:
    return Calendar(folder)


def off_by(server: Served) -> int:
    """How many days the app's calendar is away from the true date."""
    return round(
        (float(server.says("one", "import time; print(time.time())")) - time.time()) / DAY_S
    )


@pytest.mark.parametrize("days", [1, -1])
def test_sessions_and_their_processes_outlive_a_jump(
    folder: Path, calendar: Calendar, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
    settings = {**WATCHED, "restart_limit": 1, "restart_window_s": 1.0}
    with (
        Served(folder, before=calendar.before, env=calendar.env, **settings) as server,
        server.steadily(),
    ):
        server.ask("open", name="one")
        key = server.says("one", STORE.format(size=100_000)).splitlines()[-1]
        hosts = server.ask("hosts", app="one.py")
        assert off_by(server) == 0
        calendar.set(days)
        assert off_by(server) == days
        assert cpu_share(server.pid, 2.5) < 0.3
        assert server.pid in [found.snapshot.pid for found in published_servers()]
        of_hosts = tuple(tag_of(pid).prefix for pid in hosts)
        assert not [name for name in shm.sweep(remove=False).names if name.startswith(of_hosts)]
        assert server.ask("hosts", app="one.py") == hosts
        assert server.ask("read", key=key)["size"] == 100_000
        assert server.says("one", "print('here')") == "here\n"
        server.ask("open", name="two", app="two.py")
        os.kill(hosts[0], signal.SIGKILL)
        assert "was killed by SIGKILL" in server.ask("restarted", name="one")
        assert off_by(server) == days


def test_a_process_that_started_before_a_jump_is_watched_after_it(
    folder: Path, calendar: Calendar
) -> None:
    settings = {"watch_interval_s": 1.0}
    with Served(folder, before=calendar.before, env=calendar.env, **settings) as server:
        server.ask("open", name="two", app="two.py")
        until(lambda: all(host.rss_bytes for host in hosts_of(server)))
        server.ask("open", name="one")
        calendar.set(1)
        until(lambda: [bool(host.rss_bytes) for host in hosts_of(server)] == [True, True])


def test_the_latest_report_is_kept_whatever_the_date(folder: Path, calendar: Calendar) -> None:
    crashes = folder / "state" / "mpkernel" / "crashes"
    with Served(folder, before=calendar.before, env=calendar.env, crash_reports=1) as server:
        server.ask("open", name="one")
        for days in (0, 1, -1):
            calendar.set(days)
            (host,) = server.ask("hosts", app="one.py")
            os.kill(host, signal.SIGKILL)
            server.ask("restarted", name="one")
            until(lambda host=host: [p for p in kept_reports(crashes) if f"-{host}." in p.name])
        until(lambda: len(kept_reports(crashes)) == 1)


def hosts_of(server: Served) -> list[HostSnapshot]:
    return [host for app in server.snapshot().pool.apps for host in app.hosts]
