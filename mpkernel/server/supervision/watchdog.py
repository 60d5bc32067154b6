"""`Watchdog`: samples and pings all hosts of a pool, and hands on what each one's watch says.

    event loop                                           thread "mpkernel-watchdog"
    watch(host) ─▶ every watch_interval_s: who ────────▶ Sampler.sample
                   HostWatch.sampled ◀───────────────────── usages
                     ├─▶ on_verdict(host, verdict)
                     └─▶ host.ping(number) ···▶ the host ···▶ HostWatch.ponged(number)

One sample at a time; the next is due an interval after the last one's end. What a sample is, is
`usage`'s; what follows from it, `verdicts`'.
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


class WatchedHost(Protocol):
    """What the watchdog needs of a host."""

    @property
    def answers_pings(self) -> bool:
        """Whether its dispatcher runs. Before that, how long it may take is `start_timeout_s`."""

    def ping(self, number: int) -> None:
        """Send a `Ping`. Returns at once, and refuses none however much waits to be sent; the
        `Pong` goes to the host's `HostWatch.ponged`."""


HostT = TypeVar("HostT", bound=WatchedHost)


class Watchdog(Generic[HostT]):
    """Watches hosts from one loop. On the loop's thread.

    A task runs while there are hosts, and a thread from the first sample on until `close`.

    Args:
        settings: see `HostWatch`, for hosts without their own, and `watch_interval_s`: None
            watches nothing.
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

    def watch(self, host: HostT, pid: int, settings: Settings | None = None) -> HostWatch:
        """Watch a host from now on.

        Args:
            host: it; `pid` is its process id. Nobody has reaped it yet.
            settings: its own. Default: the watchdog's.

        Returns:
            Where its pongs go, and where its latest samples can be had.

        Raises:
            OSError: no descriptor is left to look at it.
        """
        watch = HostWatch(settings or self._settings, born_at=time.monotonic())
        if self._settings.watch_interval_s is None or self._is_closed:
            return watch
        self._watched[host] = _Watched(pid, created_at(pid), watch)
        if not self._task.running:
            self._task.start()
        return watch

    def processes_of(self, host: HostT) -> list[Identity]:
        """What a host had started as of the last sample. Reads nothing, so that a host's death is
        dealt with also when no descriptor is left."""
        watched = self._watched.get(host)
        return self._sampler.seen.get(watched.pid, []) if watched is not None else []

    def unwatch(self, host: HostT) -> None:
        """Watch the host no more: no verdict on it follows. Idempotent."""
        self._watched.pop(host, None)
        if not self._watched:
            self._unwatched.set()

    def close_soon(self) -> None:
        """Watch nothing any more, without waiting."""
        self.kill()
        self._unwatched.set()

    def kill(self) -> None:
        """The same, without a loop. From any thread."""
        self._is_closed = True
        self._watched.clear()
        self._thread.shutdown(wait=False)

    async def close(self) -> None:
        """Watch nothing any more; return when task and thread have ended. Idempotent."""
        self.close_soon()
        await self._task.stop()
        # A sample may be under way that nobody waits for any more.
        await off_the_loop(self._thread.shutdown)

    async def _run(self) -> None:
        interval_s = self._settings.watch_interval_s
        while self._watched:
            self._unwatched.clear()
            usages = await self._sample()
            for host, watched in list(self._watched.items()):
                self._look_after(host, watched, usages.get(host))
            try:
                async with asyncio.timeout(interval_s):
                    await self._unwatched.wait()
            except TimeoutError:
                continue

    async def _sample(self) -> dict[HostT, Usage]:
        """By host, not by process id: another host may have the number by the sample's end."""
        pids = {host: watched.pid for host, watched in self._watched.items()}
        hosts = {watched.pid: watched.created_at for watched in self._watched.values()}
        loop = asyncio.get_running_loop()
        try:
            usages = await loop.run_in_executor(self._thread, self._sampler.sample, hosts)
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

    def _note_measured(self, watched: _Watched, error: Exception | None) -> None:
        if (error is None) is watched.is_measured:
            return
        watched.is_measured = error is None
        if error is None:
            logger.warning("a process can be measured again", pid=watched.pid)
        else:
            what = "a process cannot be measured, its limits do not hold: %s"
            logger.warning(what, repr(error), pid=watched.pid)

    def _look_after(self, host: HostT, watched: _Watched, usage: Usage | None) -> None:
        try:
            if usage is not None:
                self._judge(host, watched, usage)
            self._ping(host)
        except Exception:  # the others are watched on
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
                # The others are watched on.
                logger.exception("a verdict could not be carried out", pid=watched.pid)

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
        is_measured: whether the last sample could be taken of it.
        is_failing: whether it could not be looked after once, which is logged once.
    """

    pid: int
    created_at: int
    watch: HostWatch
    is_measured: bool = True
    is_failing: bool = False
