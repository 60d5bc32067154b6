"""`HostPool`: knows which app runs in which processes, and opens sessions on them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import threading
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from mpkernel.aio.awaited import to_be_awaited
from mpkernel.aio.ends import end_within
from mpkernel.aio.tasks import supervised_task
from mpkernel.aio.threads import off_the_loop
from mpkernel.argument_checks import check_argument
from mpkernel.configuration.apps import AppRule
from mpkernel.errors import PoolClosed
from mpkernel.server.apps.app import App
from mpkernel.server.apps.app_table import AppTable
from mpkernel.server.apps.pool_home import PoolHome
from mpkernel.server.apps.stored_sessions import StoredSessions
from mpkernel.server.apps.unclosed_pools import UnclosedPools
from mpkernel.server.hosts.host import AppHost
from mpkernel.server.hosts.making import HostMaker
from mpkernel.server.hosts.waiting import wait_over
from mpkernel.server.launching.process import Launcher
from mpkernel.server.operations.operations import Operations
from mpkernel.server.sessions.journal import Journal
from mpkernel.server.sessions.queued import QueuedSession
from mpkernel.server.sessions.session import Session
from mpkernel.server.supervision.tallies import AppTotals
from mpkernel.settings import Settings
from mpkernel.spec import KernelSpec
from mpkernel.steps import run_each

__all__ = ["HostPool"]

logger = logging.getLogger(__name__)

_END_WITHIN_S = 5.0


class HostPool:
    """The processes of all apps. An app's process is started when it is first needed.

        async with HostPool() as pool:
            session = await pool.open_session("app.py", kernel=KernelSpec(entry="mine:main"))

    A pool belongs to the loop on which it is first used, and that loop's thread: hosts end with the
    thread that launched them. Leaving `async with` ends every process. If nobody closes a pool, it
    is closed when its loop is shut down (`asyncio.run` does that, as do servers and test clients).
    If the loop was closed without being shut down, the pool is killed as soon as another pool
    begins, or when it is closed on another loop. A server that exits without closing its pool kills
    the remaining processes at its exit. When a server is killed, its hosts notice that, and end.
    A fork of the server can neither use the pool nor end it.

    Args:
        settings: see `Settings`. Default: its defaults.
        rules: other settings for some apps; the first that matches an app counts. Default: none.
        launcher: starts the processes of the apps. Default: on this machine, or on the cluster that
            the setting `cluster` names.
        sweeps: whether what dead servers left is removed when the first app starts. Default True.

    Attributes:
        settings: as given.
        files: the virtual files of all its hosts. `pool.files.lease(key)` gives one to read.
        standby: the processes that wait for an app.
        stored: the sessions that come back after the end of the server.
        one_of: the server that this process forms together with others, for operators, or None.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        rules: Sequence[AppRule] = (),
        sweeps: bool = True,
        launcher: Launcher | None = None,
    ) -> None:
        self.settings = settings if settings is not None else Settings()
        check_argument("settings", self.settings, Settings, "Settings, as in Settings(standby=1)")
        for rule in rules:
            check_argument("each of rules", rule, AppRule, "an AppRule, as in AppRule(path, {…})")
        self._maker = HostMaker(
            self.settings, sweeps=sweeps, hosts=lambda: self.hosts, launcher=launcher
        )
        self.files = self._maker.files
        self.standby = self._maker.standby
        self.stored = StoredSessions(self.settings)
        self._table = AppTable(self.settings, rules, self._make_app)
        self.one_of: str | None = None
        self._closed = False
        self._closing = asyncio.Event()
        self._operations = Operations(self)
        self._home = PoolHome()
        self._kill_lock = threading.Lock()  # two threads may find the same closed loop
        _unclosed.add(self)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(
        self,
        *,
        stop: Callable[[], None] | None = None,
        last: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Launch the first standby, and let operators see the pool, as far as the settings say.
        Entering `async with` calls this. On the loop's thread.

        Args:
            stop: called for `mpkernel stop`. It must return at once. Default: `drain`.
            last: awaited when the loop is shut down and nobody has closed the pool. It must close
                the pool. Default: `close`.

        Raises:
            PoolClosed, RuntimeError: as `open_session`.
        """
        self._belong_to_this_loop(last)
        self.standby.start()
        self._operations.start(stop if stop is not None else self._drain_soon)

    @property
    def closed(self) -> bool:
        """Whether the pool takes no more sessions, because it was closed, drained or killed."""
        return self._closed

    @property
    def apps(self) -> list[App]:
        """The apps for which sessions were opened. If there are many, those that have no process
        and did not die lately are forgotten."""
        return self._table.apps

    @property
    def forgotten(self) -> AppTotals:
        """What has happened to apps that are not among `apps` any more."""
        return self._table.forgotten

    @property
    def hosts(self) -> list[AppHost]:
        """The hosts that live, also those that take no more sessions."""
        return [host for app in self._table.apps for host in app.hosts]

    @to_be_awaited("session = await pool.open_session(…)")
    async def open_session(
        self,
        app: str | os.PathLike[str],
        *,
        kernel: KernelSpec,
        session_id: str | None = None,
        journal: Journal | None = None,
        authority: str = "",
    ) -> Session:
        """Start a kernel for a client of `app`, in the app's process, which is started when there
        is none. Returns when the kernel's thread runs; never waits for another app's start.

        Args:
            app: the app's file.
            kernel: what runs on the session's thread.
            session_id: the client's name for the session. Default: a random one.
            journal: brings the session back when the app's process dies. Default: the session does
                not come back, and ends with `HostDied`.
            authority: who opens the session: the name of a user, for example. A session that an
                earlier server stored (`Settings.session_store`) comes back only for the same
                authority. Default: it comes back for whoever knows its `session_id`.

        Raises:
            PoolClosed: it is closed, or was while the app waited; or this is a fork of its process.
            RuntimeError: the pool belongs to another event loop, or to that of another thread.
            AppNotFound: there is no such file.
            SettingsError: as `settings_of`; or `session_id` cannot be written in UTF-8.
            SessionNameTaken: another session of the app has this name, and is still open.
            AppUnavailable: the app died too often, or takes no sessions for now.
            HostStartError: the app's process could not be started.
            HostDied, KernelFailed: the app's process, or the kernel, ended before the kernel ran.
            SessionClosed: the session was closed before the kernel ran.
            ProtocolError: `kernel.args` is too large for a message.
        """
        check_argument("kernel", kernel, KernelSpec, "a KernelSpec, as in KernelSpec(entry='a:b')")
        check_argument("authority", authority, str, "a string")
        if journal is not None:
            check_argument("journal", journal, Journal, "a Journal, the object and not its class")
        while left := (found := self.app(app, kernel)).wait_s():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._closing.wait()
        name = session_id if session_id is not None else uuid.uuid4().hex
        queued = QueuedSession(found, name, journal)
        if journal is None or session_id is None:
            found.open(queued, kernel)
        else:
            with self._table.holding(found):
                await self.stored.open(found, queued, kernel, journal, authority)
        try:
            await queued.started()
        except BaseException:
            queued.stop(may_come_back=True)
            raise
        return Session(queued)

    def app(self, app: str | os.PathLike[str], kernel: KernelSpec) -> App:
        """The app of this file, for a session with this kernel. On the loop's thread.

        Raises:
            PoolClosed, RuntimeError, AppNotFound, SettingsError: as `open_session`.
        """
        self._home.check(closed=self._closed)
        return self._table.app(app)

    def settings_of(self, app: str | os.PathLike[str]) -> Settings:
        """The settings of an app: the pool's, with the changes of the first rule that matches.

        Raises:
            AppNotFound: no file can have this path.
            SettingsError: a rule for it names what no app can set, or an impossible value.
        """
        return self._table.settings_of(app)

    def _make_app(self, path: str, settings: Settings) -> App:
        loop = self._belong_to_this_loop()
        return App(path, settings, loop, self._launch_host, self._operations.died)

    def _launch_host(self, app: App, kernel: KernelSpec) -> AppHost:
        if self._closed:  # `kill` does not tell apps: it is for any thread
            raise PoolClosed(f"{app.name} was closed with its pool", remedy="open a new pool")
        return self._maker.make(app, kernel)

    def _belong_to_this_loop(
        self, last: Callable[[], Awaitable[None]] | None = None
    ) -> asyncio.AbstractEventLoop:
        """Begin to use the pool, if that was not done before. Returns the running loop."""
        self._home.check()
        if self._home.loop is None:
            _unclosed.kill_those_of_closed_loops()
        return self._home.begin(last if last is not None else self.close)

    def _take_no_more(self, tell: Callable[[App], object]) -> None:
        self._closed = True
        self._closing.set()
        run_each([functools.partial(tell, app) for app in self.apps], "an app could not be closed")

    async def close(self) -> None:
        """End every host, and wait until all have ended. Idempotent, and safe to cancel.

        It ends in bounded time: a process has `Settings.stop_grace_s`, and 5 s once it is killed;
        each other part has 5 s. What fails is logged, and the rest is closed all the same.

        Raises:
            RuntimeError: the pool belongs to another event loop, which is not closed.
        """
        if await self._is_ended_elsewhere():
            return
        self._take_no_more(App.close)
        ends = [self.standby.close(), *(host.close() for host in self.hosts)]
        for failure in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(failure, Exception):
                logger.error("a process could not be ended in order", exc_info=failure)
        await end_within(_END_WITHIN_S, self._maker.stop_watching(), "the watchdog")
        await end_within(_END_WITHIN_S, self._operations.close(), "what operators see")
        await self._maker.close_console()
        await end_within(_END_WITHIN_S, self.stored.close(), "the store of sessions")
        self._home.cancel_end()

    async def _is_ended_elsewhere(self) -> bool:
        """Whether this is a fork, whose parent ends the pool, or the pool's loop was closed. In
        that case nothing can be ended in order, and all processes are killed here."""
        if self._home.loop_is_closed:
            await off_the_loop(self.kill)
            await end_within(_END_WITHIN_S, self._maker.watching_ended(), "the watchdog")
        self._home.check_loop()
        return self._home.is_forked or self._home.loop_is_closed

    def _drain_soon(self) -> None:
        supervised_task(self.drain(), name="mpkernel.drain")

    async def drain(self, *, at_once: asyncio.Event | None = None) -> None:
        """Take no new sessions, let the commands that run come to their end, for
        `Settings.drain_grace_s` at the longest, then `close`, which says what is raised.

        Args:
            at_once: when it is set, there is no more waiting. Default: only the time limit ends it.
        """
        if await self._is_ended_elsewhere():
            return
        self._take_no_more(App.drain)
        self.standby.close_soon()
        if running := sum(one.is_running for host in self.hosts for one in host.sessions):
            logger.warning("the server waits for commands that run: %d", running)
        try:
            await wait_over(self.hosts, self.settings.drain_grace_s, at_once or asyncio.Event())
        finally:
            await self.close()

    def close_soon(self) -> None:
        """Ask every host to leave, without waiting. On the loop's thread. Hosts that have not left
        when the server exits are killed then.

        Raises:
            RuntimeError: this is another thread, or another event loop runs here.
        """
        if self._home.is_forked:
            return
        self._home.check_loop()
        self._take_no_more(App.close)
        self._maker.close_soon()
        self._operations.close_soon()

    def kill(self) -> None:
        """Kill every host, now, without a loop. From any thread."""
        if self._home.is_forked:
            return
        self._closed = True
        ends: list[Callable[[], object]] = [host.kill_and_reap for host in self.hosts]
        ends += [self._operations.kill, self._maker.kill_and_reap, self._maker.end_console]
        with self._kill_lock:
            run_each(ends, "a part of the pool could not be ended")


_unclosed = UnclosedPools[HostPool](lambda pool: pool._home.loop_is_closed)
