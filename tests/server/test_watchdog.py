"""The watchdog with real processes: what it sees, what it does not touch, and what it leaves
behind."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import psutil
import pytest
from server.conftest import pipes_and_threads
from server.processes import Program
from waiting import until_async

from mpkernel import Settings
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.reading import Reading, read_process
from mpkernel.server.supervision.usage import Sampler, Usage
from mpkernel.server.supervision.verdicts import Action, HostWatch, Verdict
from mpkernel.server.supervision.watchdog import Watchdog

TIMEOUT_S = 2.0
THREAD = "mpkernel-watchdog"

ANSWER = "for line in sys.stdin: say(int(line))\n"
MIB_128 = "hoard = bytearray(os.urandom(1024)) * 131072\n"


class Host:
    """A process that gets the numbers of pings as lines, and answers with the same lines."""

    def __init__(self, code: str) -> None:
        self.answers_pings = True
        self.pinged: list[int] = []
        self.verdicts: asyncio.Queue[Verdict] = asyncio.Queue()
        self.answered = asyncio.Event()
        self.program = Program(code)
        self.watch: HostWatch | None = None
        self._read = b""
        asyncio.get_running_loop().add_reader(self.program.stdout_fd, self._on_line)

    def ping(self, number: int) -> None:
        self.pinged.append(number)
        self.program.say(str(number))

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.program.stdout_fd)
        self.program.close()

    def _on_line(self) -> None:
        self._read += os.read(self.program.stdout_fd, 4096)
        *lines, self._read = self._read.split(b"\n")
        for line in lines:
            if self.watch is not None:
                self.watch.ponged(int(line))
                self.answered.set()


Watch = Callable[[str], Host]


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


def tasks_of_watchdogs() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if "watchdog" in task.get_name()}


def history_of(host: Host) -> tuple[Usage, ...]:
    assert host.watch is not None
    return host.watch.history


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
        self.let_go.wait(10)
        self.at_once -= 1
        return {}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldSampler:
    held = HeldSampler()
    monkeypatch.setattr(Sampler, "sample", lambda *args: held(*args))
    return held


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
    await asyncio.wait_for(host.answered.wait(), 60)
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
    verdict = await asyncio.wait_for(host.verdicts.get(), 10)
    assert verdict.action is action
    assert "2 processes" in verdict.what
    assert neighbour.verdicts.empty()


@pytest.mark.parametrize(
    "settings",
    [Settings(watch_interval_s=0.02, max_threads=5), Settings(watch_interval_s=0.02, max_age_s=1)],
)
async def test_a_host_over_a_lesser_limit_is_replaced(watch: Watch) -> None:
    host = watch("for _ in range(9): threading.Thread(target=stay).start()\n")
    verdict = await asyncio.wait_for(host.verdicts.get(), 10)
    assert verdict.action is Action.REPLACE


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
    await asyncio.wait_for(closing, 10)
    assert THREAD not in "".join(thread.name for thread in threading.enumerate())


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
