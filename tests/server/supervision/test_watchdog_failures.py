"""The watchdog when a part of its work fails or takes long: the other hosts are watched all the
same, and the log says it once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping

import psutil
import pytest
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
from mpkernel.server.supervision.reading import Reading, read_process
from mpkernel.server.supervision.usage import Sampler, Usage
from mpkernel.server.supervision.verdicts import Verdict
from mpkernel.server.supervision.watchdog import Watchdog


class HeldSampler:
    """Takes the place of the sampling, and does not end until a test lets it."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.at_once = 0
        self.most_at_once = 0

    def __call__(self, _: Sampler, hosts: Mapping[int, int], *__: object) -> dict[int, Usage]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.entered.release()
        self.let_go.wait(PATIENCE_S)
        self.at_once -= 1
        return {}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldSampler:
    held = HeldSampler()
    monkeypatch.setattr(Sampler, "sample", lambda *args: held(*args))
    return held


async def test_a_sample_that_takes_long_delays_the_next_and_not_the_loop(
    held: HeldSampler, watch: Watch
) -> None:
    watch("stay()")
    await until_async(lambda: held.entered.acquire(blocking=False))
    watch("stay()")
    for _ in range(20):
        await asyncio.sleep(0.005)
    held.let_go.set()
    await until_async(lambda: held.entered.acquire(blocking=False))
    assert held.most_at_once == 1


async def test_closing_waits_for_the_sample_that_is_under_way(
    held: HeldSampler, watchdog: Watchdog[Host], watch: Watch
) -> None:
    watch("stay()")
    await until_async(lambda: held.entered.acquire(blocking=False))
    closing = asyncio.ensure_future(watchdog.close())
    await until_async(lambda: not tasks_of_watchdogs())
    assert not closing.done()
    held.let_go.set()
    await asyncio.wait_for(closing, PATIENCE_S)
    assert THREAD not in "".join(thread.name for thread in threading.enumerate())


async def test_another_loop_can_wait_for_it_where_the_watchdog_was_killed(
    held: HeldSampler, watchdog: Watchdog[Host], watch: Watch
) -> None:
    watch("stay()")
    await until_async(lambda: held.entered.acquire(blocking=False))
    watchdog.kill()

    async def ended() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watchdog.thread_ended(), 0.05)
        held.let_go.set()
        await watchdog.thread_ended()
        assert THREAD not in "".join(thread.name for thread in threading.enumerate())

    await asyncio.to_thread(asyncio.run, ended())


async def test_what_was_sampled_for_a_closed_watchdog_is_dropped(
    held: HeldSampler, watchdog: Watchdog[Host], watch: Watch
) -> None:
    host = watch("stay()")
    await until_async(lambda: held.entered.acquire(blocking=False))
    watchdog.close_soon()
    held.let_go.set()
    await until_async(lambda: not tasks_of_watchdogs())
    assert host.pinged == []
    assert history_of(watch("stay()")) == ()
    assert not tasks_of_watchdogs()


async def test_a_ping_that_raises_leaves_the_others_watched(
    watch: Watch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_number: int) -> None:
        raise RuntimeError("no such Pipe")

    broken, other = watch(ANSWER), watch(ANSWER)
    monkeypatch.setattr(broken, "ping", failing)
    await until_async(lambda: len(other.pinged) > 2 and "no such Pipe" in caplog.text)


async def test_a_host_that_cannot_be_judged_is_logged_once(
    watch: Watch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Usage) -> list[Verdict]:
        judged.append(1)
        raise RuntimeError("no such limit")

    judged: list[int] = []
    broken, other = watch(ANSWER), watch(ANSWER)
    monkeypatch.setattr(broken.watch, "sampled", failing)
    await until_async(lambda: len(judged) > 3 and len(history_of(other)) > 3)
    assert caplog.text.count("a process could not be looked after") == 1


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), ValueError("not a number: (sd-pam)")])
async def test_a_host_that_cannot_be_measured_is_logged_once_and_when_it_can_be_again(
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def failing(pid: int) -> Reading:
        if pid == broken.program.pid:
            failures.append(1)
            raise error
        return read_process(pid)

    failures: list[int] = []
    broken, other = watch(ANSWER), watch(ANSWER)
    with monkeypatch.context() as patch:
        patch.setattr("mpkernel.server.supervision.usage.read_process", failing)
        await until_async(lambda: len(failures) > 3 and len(history_of(other)) > 3)
    await until_async(lambda: "a process can be measured again" in caplog.text)
    assert caplog.text.count("a process cannot be measured") == 1
    assert f"pid={broken.program.pid}" in caplog.text
    assert f"pid={other.program.pid}" not in caplog.text
    measured = len(history_of(broken))
    await until_async(lambda: len(history_of(broken)) > measured)


@pytest.mark.parametrize("settings", [Settings(watch_interval_s=0.02, max_threads=1)])
async def test_a_verdict_that_fails_leaves_the_others_watched(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    carried_out: list[Host] = []

    def on_verdict(host: Host, _: Verdict) -> None:
        if host is hosts[0]:
            raise RuntimeError("no such page")
        carried_out.append(host)

    watchdog: Watchdog[Host] = Watchdog(settings, on_verdict)
    hosts = [Host("threading.Thread(target=stay).start()") for _ in range(2)]
    for host in hosts:
        watchdog.watch(host, host.program.pid)
    await until_async(lambda: carried_out == [hosts[1]] and "no such page" in caplog.text)
    await watchdog.close()
    for host in hosts:
        host.close()


@pytest.mark.parametrize(
    "failure", [OSError(24, "Too many open files"), psutil.AccessDenied(msg="Too many open files")]
)
async def test_a_sample_that_fails_is_told_once_and_tried_again(
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
) -> None:
    sample, failures = Sampler.sample, iter(range(3))

    def failing(sampler: Sampler, hosts: Mapping[int, int], *_: object) -> dict[int, Usage]:
        if next(failures, None) is not None:
            raise failure
        return sample(sampler, hosts)

    monkeypatch.setattr(Sampler, "sample", failing)
    with caplog.at_level(logging.WARNING):
        host = watch(ANSWER)
        await until_async(lambda: history_of(host))
    assert caplog.text.count("Too many open files") == 1
