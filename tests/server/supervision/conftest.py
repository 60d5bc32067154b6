"""Fixtures of the watchdog's tests: a watchdog of real processes, with short times."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from server.conftest import pipes_and_threads
from server.supervision.watched_hosts import Host, Watch, tasks_of_watchdogs

from mpkernel import Settings
from mpkernel.server.supervision.watchdog import Watchdog

TIMEOUT_S = 2.0


@pytest.fixture
def settings() -> Settings:
    return Settings(watch_interval_s=0.02, ping_interval_s=0.02, ping_timeout_s=TIMEOUT_S)


@pytest.fixture
async def watchdog(settings: Settings) -> AsyncIterator[Watchdog[Host]]:
    before = pipes_and_threads()
    watchdog: Watchdog[Host] = Watchdog(
        settings, lambda host, verdict: host.verdicts.put_nowait(verdict)
    )
    yield watchdog
    await watchdog.close()
    assert not tasks_of_watchdogs()
    assert not pipes_and_threads() - before, "threads left behind"


@pytest.fixture
async def watch(watchdog: Watchdog[Host]) -> AsyncIterator[Watch]:
    """Starts a program and watches it until the end of the test."""
    hosts = []

    def watched(code: str) -> Host:
        host = Host(code)
        hosts.append(host)
        host.watch = watchdog.watch(host, host.program.pid)
        return host

    yield watched
    for host in hosts:
        watchdog.unwatch(host)
        host.close()
