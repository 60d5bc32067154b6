"""The watchdog with real processes: what it sees, what it does not touch, and what it leaves
behind."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from server.supervision.conftest import TIMEOUT_S
from server.supervision.watched_hosts import (
    ANSWER,
    THREAD,
    Host,
    Watch,
    history_of,
    tasks_of_watchdogs,
)
from waiting import PATIENCE_S, until_async

from mpkernel import Settings
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.usage import Usage
from mpkernel.server.supervision.verdicts import Action, Verdict
from mpkernel.server.supervision.watchdog import Watchdog

MIB_128 = "hoard = bytearray(os.urandom(1024)) * 131072\n"


async def test_hosts_that_answer_are_sampled_and_let_be(watch: Watch) -> None:
    hosts = [watch(ANSWER) for _ in range(3)]
    await until_async(lambda: all(len(history_of(host)) >= 20 for host in hosts))
    for host in hosts:
        assert len(host.pinged) > 1
        assert host.verdicts.empty()
        assert {usage.processes for usage in history_of(host)} == {1}


async def test_a_stopped_host_is_restarted_and_its_neighbour_is_not(watch: Watch) -> None:
    host, neighbour = watch(ANSWER), watch(ANSWER)
    await host.answered.wait()
    host.program.stop()
    verdict = await asyncio.wait_for(host.verdicts.get(), 10 * TIMEOUT_S)
    assert (verdict.action, verdict.reason) == (Action.RESTART, Reason.HANG)
    assert neighbour.verdicts.empty()


async def test_a_host_elsewhere_is_judged_by_what_is_measured_there(
    watchdog: Watchdog[Host],
) -> None:
    class There:
        """A machine on which the host is launched when a test says so."""

        latest: Usage | None = None

        def usage(self) -> Usage | None:
            return self.latest

    host, there = Host("stay()"), There()
    host.answers_pings = False
    host.watch = watchdog.watch(host, 2**22 + 1, Settings(max_age_s=1.0), there)
    host.watch.launched(-1e9)  # it was made long ago
    little = {"rss_bytes": 1, "cpu_s": 0.0, "host_cpu_s": 0.0, "descriptors": 3, "processes": 1}
    for taken_at in (100.0, 101.0, 101.5):
        there.latest = Usage(**little, threads=1, taken_at=taken_at)
        await until_async(lambda: there.latest in history_of(host))
    assert [usage.taken_at for usage in history_of(host)] == [100.0, 101.0, 101.5]
    verdict = await host.verdicts.get()
    assert (verdict.action, verdict.what[:15]) == (Action.REPLACE, "has run for 2 s")
    assert host.verdicts.empty()
    watchdog.unwatch(host)
    host.close()


async def test_a_host_that_computes_for_long_is_let_be(watch: Watch) -> None:
    host = watch(f"while time.process_time() < {1.5 * TIMEOUT_S}: pass\n{ANSWER}")
    await asyncio.wait_for(host.answered.wait(), PATIENCE_S)
    assert len(host.pinged) >= 1
    assert host.verdicts.empty()


async def test_a_host_that_is_not_ready_is_not_pinged(watch: Watch) -> None:
    host = watch("stay()")
    host.answers_pings = False
    await until_async(lambda: history_of(host))
    assert host.pinged == []
    host.answers_pings = True
    await until_async(lambda: host.pinged)


@pytest.mark.parametrize(
    ("settings", "action"),
    [
        (Settings(watch_interval_s=0.02, memory_soft_bytes=100 * 2**20), Action.REFUSE),
        (Settings(watch_interval_s=0.02, memory_hard_bytes=100 * 2**20), Action.RESTART),
    ],
)
async def test_memory_of_what_a_host_started_brings_a_verdict(watch: Watch, action: Action) -> None:
    host, neighbour = watch(f"run({MIB_128 + 'stay()'!r}).wait()"), watch(ANSWER)
    verdict = await asyncio.wait_for(host.verdicts.get(), PATIENCE_S)
    assert verdict.action is action
    assert "2 processes" in verdict.what
    assert neighbour.verdicts.empty()


@pytest.mark.parametrize(
    "settings",
    [Settings(watch_interval_s=0.02, max_threads=5), Settings(watch_interval_s=0.02, max_age_s=1)],
)
async def test_a_host_over_a_lesser_limit_is_replaced(watch: Watch) -> None:
    host = watch("for _ in range(9): threading.Thread(target=stay).start()\n")
    verdict = await asyncio.wait_for(host.verdicts.get(), PATIENCE_S)
    assert verdict.action is Action.REPLACE


@pytest.mark.parametrize("settings", [Settings(watch_interval_s=0.02, max_threads=1)])
async def test_a_verdict_may_end_the_watch_of_every_host(settings: Settings) -> None:
    told: list[Host] = []

    def on_verdict(host: Host, _: Verdict) -> None:
        told.append(host)
        for each in hosts:
            watchdog.unwatch(each)

    watchdog: Watchdog[Host] = Watchdog(settings, on_verdict)
    hosts = [Host("threading.Thread(target=stay).start()") for _ in range(2)]
    await until_async(lambda: all(threads_of(host) == 2 for host in hosts))
    for host in hosts:
        watchdog.watch(host, host.program.pid)
    await until_async(lambda: not tasks_of_watchdogs())
    assert len(told) == 1
    await watchdog.close()
    for host in hosts:
        host.close()


@pytest.mark.parametrize("settings", [Settings(watch_interval_s=60)])
async def test_it_runs_while_there_are_hosts(watchdog: Watchdog[Host], watch: Watch) -> None:
    assert not tasks_of_watchdogs()
    for _ in range(2):
        host = watch(ANSWER)
        assert tasks_of_watchdogs()
        await until_async(lambda host=host: history_of(host))  # type: ignore[misc]
        watchdog.unwatch(host)
        await until_async(lambda: not tasks_of_watchdogs())


@pytest.mark.parametrize("settings", [Settings(watch_interval_s=0.2)])
async def test_samples_keep_their_distance_when_hosts_come_and_go(
    watchdog: Watchdog[Host], watch: Watch
) -> None:
    for _ in range(2):
        host = watch(ANSWER)
        await until_async(lambda host=host: len(history_of(host)) > 1)  # type: ignore[misc]
        first, second = (usage.taken_at for usage in history_of(host))
        assert second - first >= 0.2
        watchdog.unwatch(host)


async def test_a_host_that_comes_as_the_last_goes_is_watched(
    watchdog: Watchdog[Host], watch: Watch
) -> None:
    first = watch(ANSWER)
    await until_async(lambda: history_of(first))
    watchdog.unwatch(first)
    second = watch(ANSWER)
    await until_async(lambda: history_of(second))


@pytest.mark.parametrize("settings", [Settings(watch_interval_s=None, max_threads=1)])
async def test_switched_off_it_does_nothing(watch: Watch) -> None:
    host = watch("stay()")
    assert not tasks_of_watchdogs()
    assert history_of(host) == ()
    assert THREAD not in "".join(thread.name for thread in threading.enumerate())


async def test_a_host_that_is_gone_already_is_no_error(watchdog: Watchdog[Host]) -> None:
    host = Host("")
    host.close()
    assert watchdog.watch(host, host.program.pid).history == ()
    watchdog.unwatch(host)


def threads_of(host: Host) -> int:
    return len(os.listdir(f"/proc/{host.program.pid}/task"))
