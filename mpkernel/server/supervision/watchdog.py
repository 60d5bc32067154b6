"""`Watchdog`: samples and pings all hosts of a pool, and hands on the verdicts on each.

    event loop                                           thread "mpkernel-watchdog"
    watch(host) ─▶ every watch_interval_s: who ────────▶ Sampler.sample
                   HostWatch.sampled ◀───────────────────── usages
                     ├─▶ on_verdict(host, verdict)
                     └─▶ host.ping(number) ···▶ the host ···▶ HostWatch.ponged(number)

One sample is taken at a time; the next is due an interval after the end of the last. Hosts that
compute nothing are left out of most samples. `usage` says what a sample is, and `verdicts` what
follows from it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import psutil

from mpkernel.aio.background import BackgroundTask
from mpkernel.aio.threads import off_the_loop
from mpkernel.logs import get_logger
from mpkernel.process_tree import Identity
from mpkernel.server.supervision.usage import Sampler, Usage, created_at
from mpkernel.server.supervision.verdicts import HostWatch, Verdict
from mpkernel.settings import Settings

__all__ = ["Watchdog", "WatchedHost"]

logger = get_logger(__name__)


class Measured(Protocol):
    """The measurements that another machine makes of a process there."""

    def usage(self) -> Usage | None:
        """The latest sample, with the time by this server's clock; None before the first."""


class WatchedHost(Protocol):
    """What the watchdog needs of a host."""

    @property
    def answers_pings(self) -> bool:
        """Whether its dispatcher runs already. Until then, `start_timeout_s` bounds its start."""

    def ping(self, number: int) -> None:
        """Send a `Ping`. Returns at once, and never raises because too much waits to be sent. The
        `Pong` is given to the host's `HostWatch.ponged`."""


HostT = TypeVar("HostT", bound=WatchedHost)


class Watchdog(Generic[HostT]):
    """Watches hosts from one loop. On the loop's thread.

    A task runs while there are hosts, and a thread from the first sample on until `close`.

    Args:
        settings: those that `HostWatch` uses, for hosts that have none of their own; and
            `watch_interval_s`. If that is None, nothing is watched.
        on_verdict: called on the loop with each verdict. It may stop watching any host.
    """

    def __init__(self, settings: Settings, on_verdict: Callable[[HostT, Verdict], None]) -> None:
        self._settings = settings
        self._on_verdict = on_verdict
        self._watched: dict[HostT, _Watched] = {}
        self._unwatched = asyncio.Event()
        self._sampler = Sampler()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mpkernel-watchdog")
        self._task = BackgroundTask(self._run, name="mpkernel watchdog")
        self._is_failing = False
        self._is_closed = False

    def watch(
        self,
        host: HostT,
        pid: int,
        settings: Settings | None = None,
        elsewhere: Measured | None = None,
    ) -> HostWatch:
        """Watch a host from now on.

        Args:
            host: the host.
            pid: its process id. The process must not be reaped yet.
            settings: the host's own. Default: the watchdog's.
            elsewhere: gives the samples of a host of another machine. Default: they are taken here.

        Returns:
            What judges the host: it takes the host's pongs, and has its latest samples.

        Raises:
            OSError: no descriptor is left to look at the host.
        """
        watch = HostWatch(settings or self._settings, born_at=time.monotonic())
        if self._settings.watch_interval_s is None or self._is_closed:
            return watch
        created = created_at(pid) if elsewhere is None else 0
        self._watched[host] = _Watched(pid, created, watch, own_pid=pid, elsewhere=elsewhere)
        if not self._task.running:
            self._task.start()
        return watch

    def processes_of(self, host: HostT) -> list[Identity]:
        """What a host had started as of the last sample. This reads nothing from the system, so
        that a host's death can be dealt with also when no descriptor is left."""
        watched = self._watched.get(host)
        return self._sampler.seen.get(watched.pid, []) if watched is not None else []

    def found(self, host: HostT, own_pid: int) -> None:
        """The host's own process is this one, which the process that is watched has started."""
        watched = self._watched.get(host)
        if watched is not None:
            watched.own_pid = own_pid

    def unwatch(self, host: HostT) -> None:
        """Stop watching a host: no verdict on it follows. Idempotent."""
        self._watched.pop(host, None)
        if not self._watched:
            self._unwatched.set()

    def close_soon(self) -> None:
        """Stop watching all hosts, without waiting for the task and the thread."""
        self.kill()
        self._unwatched.set()

    def kill(self) -> None:
        """Stop watching all hosts, without a loop. From any thread."""
        self._is_closed = True
        self._watched.clear()
        self._thread.shutdown(wait=False)

    async def close(self) -> None:
        """Stop watching all hosts, and return when the task and the thread have ended.
        Idempotent."""
        self.close_soon()
        await self._task.stop()
        await self.thread_ended()

    async def thread_ended(self) -> None:
        """Return when the thread has ended, after `close_soon` or `kill`. On any loop. It may still
        be taking a sample, whose result nobody needs any more."""
        await off_the_loop(self._thread.shutdown)

    async def _run(self) -> None:
        interval_s = self._settings.watch_interval_s
        while self._watched:
            self._unwatched.clear()
            usages = await self._sample()
            usages.update(self._measured_elsewhere())
            for host, watched in list(self._watched.items()):
                self._look_after(host, watched, usages.get(host))
            try:
                async with asyncio.timeout(interval_s):
                    await self._unwatched.wait()
            except TimeoutError:
                continue

    async def _sample(self) -> dict[HostT, Usage]:
        """Take a sample. Returns it by host, not by process id: meanwhile another host may have the
        same id."""
        pids = {
            host: watched.pid
            for host, watched in self._watched.items()
            if watched.elsewhere is None and watched.watch.sample_is_due()
        }
        if not pids:
            return {}
        hosts = {
            watched.pid: watched.created_at
            for watched in self._watched.values()
            if watched.elsewhere is None
        }
        own = {one.pid: one.own_pid for one in self._watched.values() if one.own_pid != one.pid}
        loop = asyncio.get_running_loop()
        try:
            usages = await loop.run_in_executor(
                self._thread, self._sampler.sample, hosts, own, frozenset(pids.values())
            )
        except (OSError, RuntimeError, psutil.Error) as error:  # no descriptor, thread or /proc
            if not self._is_failing:
                logger.warning("hosts cannot be watched for now: %s", error)
            self._is_failing = True
            return {}
        except Exception:
            if not self._is_failing:
                logger.exception("hosts cannot be watched for now")
            self._is_failing = True
            return {}
        self._is_failing = False
        for watched in self._watched.values():
            self._note_measured(watched, self._sampler.unmeasured.get(watched.pid))
        return {host: usages[pid] for host, pid in pids.items() if pid in usages}

    def _measured_elsewhere(self) -> dict[HostT, Usage]:
        """The samples that have come since the last turn."""
        found = {}
        for host, watched in self._watched.items():
            usage = watched.elsewhere.usage() if watched.elsewhere is not None else None
            if usage is None or usage in watched.watch.history[-1:]:
                continue
            if not watched.watch.history:
                watched.watch.launched(usage.taken_at)
            found[host] = usage
        return found

    def _note_measured(self, watched: _Watched, error: Exception | None) -> None:
        if (error is None) is watched.is_measured:
            return
        watched.is_measured = error is None
        if error is None:
            logger.warning("a process can be measured again", pid=watched.pid)
        else:
            what = "a process cannot be measured, so its limits are not checked: %s"
            logger.warning(what, repr(error), pid=watched.pid)

    def _look_after(self, host: HostT, watched: _Watched, usage: Usage | None) -> None:
        try:
            if usage is not None:
                self._judge(host, watched, usage)
            self._ping(host)
        except Exception:  # the others are still watched
            if not watched.is_failing:
                logger.exception("a process could not be looked after", pid=watched.pid)
            watched.is_failing = True

    def _judge(self, host: HostT, watched: _Watched, usage: Usage) -> None:
        if self._watched.get(host) is not watched:
            return
        for verdict in watched.watch.sampled(usage):
            try:
                self._on_verdict(host, verdict)
            except Exception:
                # The others are still watched.
                logger.exception(
                    "what was decided about a process could not be done", pid=watched.pid
                )

    def _ping(self, host: HostT) -> None:
        watched = self._watched.get(host)
        now = time.monotonic()
        if watched is not None and host.answers_pings and watched.watch.ping_is_due(now):
            host.ping(watched.watch.pinged(now))


@dataclass(slots=True)
class _Watched:
    """A host that is watched.

    Attributes:
        pid: its process id.
        created_at: when the process was created.
        watch: what judges it.
        own_pid: its own process: not `pid` where that is a wrapper's.
        is_measured: whether the last sample of it could be taken.
        elsewhere: see `Watchdog.watch`.
        is_failing: whether looking after it has failed before: only the first failure is logged.
    """

    pid: int
    created_at: int
    watch: HostWatch
    own_pid: int
    elsewhere: Measured | None = None
    is_measured: bool = True
    is_failing: bool = False
