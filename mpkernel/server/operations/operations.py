"""`Operations`: what operators see of a pool, and what they can do to it.

    pool ── every second ──▶ SnapshotFile        mpkernel status, top
         ─────┴────────────▶ MetricsFile         a node exporter
         ─────┴────────────▶ History ─▶ the control socket, mpkernel dashboard
         ◀── orders ──────── ControlSocket       mpkernel restart, drain, stop, dashboard
         ── each death ────▶ CrashReports        mpkernel crashes

One thread writes all files. The server can do without all of this: if a part of it is not possible,
a warning is logged, and the part is left out.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from mpkernel.aio.background import BackgroundTask
from mpkernel.aio.threads import off_the_loop
from mpkernel.logs import get_logger
from mpkernel.plain_text import plain
from mpkernel.private_files import (
    absolute,
    private_runtime_directory,
    remove_leftovers,
    session_directory,
)
from mpkernel.server.operations.control import ControlSocket
from mpkernel.server.operations.crashes import CrashReports, report_of
from mpkernel.server.operations.history import History, HistoryPart, OrderRecord
from mpkernel.server.operations.metrics_file import MetricsFile
from mpkernel.server.operations.obeying import drain, forget, no_such_process, restart
from mpkernel.server.operations.observing import Observed, Rates, snapshot_of
from mpkernel.server.operations.orders import (
    Answer,
    Drain,
    Forget,
    ReadHistory,
    Request,
    Restart,
    Stop,
)
from mpkernel.server.operations.snapshot import PoolSnapshot
from mpkernel.server.operations.snapshot_file import SnapshotFile
from mpkernel.server.sessions.base import BaseSession
from mpkernel.server.supervision.deaths import Death
from mpkernel.server.supervision.usage import Usage
from shm.names import next_name

__all__ = ["Operated", "Operations"]

logger = get_logger(__name__)

_INTERVAL_S = 1.0
_LOOP_PATIENCE_S = 8.0  # its clients wait for longer
_NO_RUN_PATIENCE_S = 1.0
_WHO_CHARS = 100
_TEXT_CHARS = 1000


class Operated(Observed, Protocol):
    """What is needed of a pool so that operators can see it and give it orders."""


class Operations:
    """Shows a pool to operators, and carries out their orders. On the loop's thread, except `kill`.

    Args:
        pool: the pool. Its settings `snapshot`, `control`, `crash_reports` and `metrics_file` say
            which of these parts there are.
    """

    def __init__(self, pool: Operated) -> None:
        self._pool = pool
        self._stop: Callable[[], None] = lambda: None
        self._rates = Rates()
        self._snapshot: SnapshotFile | None = None
        self._metrics: MetricsFile | None = None
        self._control: ControlSocket | None = None
        self._history: History | None = None  # can only be read through the control socket
        self._stored_in = session_directory(pool.settings.session_store_directory)
        kept = pool.settings.crash_reports
        self._crashes = CrashReports(kept) if kept else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mpkernel-operations")
        self._task = BackgroundTask(self._run, name="mpkernel snapshot")
        self._awake = asyncio.Event()
        self._is_failing = False  # whether the last look has failed: only the first one is logged
        self._is_over = False

    def start(self, stop: Callable[[], None]) -> None:
        """Show the pool, and take orders, as far as its settings say. Idempotent.

        Args:
            stop: called when an operator orders the server to leave. Must return at once.
        """
        settings = self._pool.settings
        if self._task.running or not (settings.snapshot or settings.metrics_file):
            return
        self._stop = stop
        try:
            self._thread.submit(lambda: None)  # starts the thread, or shows that it cannot start
        except RuntimeError as error:
            logger.warning("operators cannot see this server: %s", error)
            return
        if settings.metrics_file is not None:
            path = absolute(settings.metrics_file)
            self._metrics = MetricsFile(path, settings.metrics_interval_s)
        if settings.snapshot:
            self._publish()
        if self._snapshot is not None or self._metrics is not None:
            self._task.start()

    def died(self, death: Death, sessions: Sequence[BaseSession], usages: Sequence[Usage]) -> None:
        """Say that an app's process ended by itself, with these sessions on it. Returns at once."""
        self._awake.set()  # an operator who looks is to see it at once
        if self._crashes is None or self._is_over:
            return
        if death.reason.has_report:
            report = report_of(death, sessions, usages)
            try:
                self._thread.submit(self._crashes.keep, report)
            except RuntimeError as error:  # no thread could be started; the report stays queued
                logger.warning(
                    "a report of a death could not be written, it is with the next one: %s", error
                )

    async def close(self) -> None:
        """Remove the files and the socket, and end the thread. Idempotent."""
        self.close_soon()
        await self._task.stop()
        await off_the_loop(self._join)

    def close_soon(self) -> None:
        """Remove the files and the socket, without waiting for the threads."""
        self.kill()
        self._awake.set()

    def kill(self) -> None:
        """Remove the files and the socket, without a loop. From any thread."""
        self._is_over = True
        if self._control is not None:
            self._control.close_soon()
        if self._snapshot is not None:
            self._snapshot.remove()
        if self._metrics is not None:
            self._metrics.remove()
        self._thread.shutdown(wait=False)

    def _join(self) -> None:
        if self._control is not None:
            self._control.close()
        self._thread.shutdown()
        if self._crashes is not None:
            self._crashes.catch_up()

    def _publish(self) -> None:
        try:
            directory = private_runtime_directory()
            remove_leftovers(directory)
        except OSError as error:
            logger.warning("operators cannot see this server: %s", error)
            return
        path = directory / f"{next_name()}.json"
        self._control = self._listen(path) if self._pool.settings.control else None
        if self._control is not None:
            self._history = History()
        self._snapshot = SnapshotFile(path, has_control=self._control is not None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        interval_s = min(  # `MetricsFile` itself knows when it is due
            _INTERVAL_S if self._snapshot is not None else math.inf,
            self._pool.settings.metrics_interval_s if self._metrics is not None else math.inf,
        )
        while True:
            self._awake.clear()
            try:
                picture = await snapshot_of(self._pool, self._rates)
                if self._is_over:  # the thread takes no more work
                    return
                await loop.run_in_executor(self._thread, self._write, picture)
                self._is_failing = False
            except Exception:  # operators must see the server again once this works
                if not self._is_failing and not self._is_over:
                    logger.exception("operators see this server as it was before, for now")
                self._is_failing = True
            try:
                async with asyncio.timeout(interval_s):
                    await self._awake.wait()
            except TimeoutError:
                continue

    def _write(self, picture: PoolSnapshot) -> None:
        if self._history is not None:
            self._history.add(picture, time.monotonic())
        if self._snapshot is not None:
            self._snapshot.write(picture)
        if self._control is not None:
            try:
                self._control.restore()
            except OSError as error:  # the snapshot says so, in a warning
                logger.debug("the control socket cannot be restored for now: %s", error)
        if self._metrics is not None:
            self._metrics.write(picture)
        if self._crashes is not None:
            self._crashes.catch_up()

    def _listen(self, path: Path) -> ControlSocket | None:
        loop = asyncio.get_running_loop()
        try:
            return ControlSocket(path, lambda request: self._answer(loop, request))
        except OSError as error:
            logger.warning("operators can only look at this server: %s", error)
            return None

    def _answer(self, loop: asyncio.AbstractEventLoop, request: Request) -> Answer | HistoryPart:
        """Carry out an order, or tell the history. Called on a thread of the control socket."""
        if isinstance(request, ReadHistory):
            history = self._history if self._history is not None else History()
            return history.since(request.since)
        if isinstance(request, Forget):
            answer = forget(self._stored_in, request.app)
        else:
            answer = self._obey_on(loop, request)
        who = plain(request.who[:_WHO_CHARS]) or "an operator"
        what, says = plain(str(request)[:_TEXT_CHARS]), plain(answer.text[:_TEXT_CHARS])
        logger.warning("order of %s: %s: %s", who, what, says)
        if self._history is not None:
            record = OrderRecord(time.time(), who, what, answer.done, says)
            self._history.add_order(record)
        return answer

    def _obey_on(self, loop: asyncio.AbstractEventLoop, order: Restart | Drain | Stop) -> Answer:
        """Carry out an order on the loop. Called on a thread of the control socket."""
        answer = concurrent.futures.Future[Answer]()

        def obey() -> None:
            if not answer.set_running_or_notify_cancel():
                return  # it was refused, because the loop has stood still
            try:
                answer.set_result(self._obey(order))
            except BaseException as error:
                answer.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            self._awake.set()  # take a snapshot now: the operator will look at it next

        try:
            loop.call_soon_threadsafe(obey)
        except RuntimeError:
            if not loop.is_closed():
                raise
            return Answer(False, "it has left already")
        try:
            return _awaited(answer, loop)
        except concurrent.futures.TimeoutError:
            if not answer.cancel():
                return answer.result()  # the loop carries it out just now
            if loop.is_closed():
                return Answer(False, "it has left already")
            if not loop.is_running():
                return Answer(False, "its event loop does not run: its program runs other code")
            return Answer(False, f"its event loop has stood still for {_LOOP_PATIENCE_S:g} s")

    def _obey(self, order: Restart | Drain | Stop) -> Answer:
        if self._pool.closed:
            return Answer(False, "it is leaving already")
        if isinstance(order, Stop):
            self._stop()
            return Answer(True, "it stops when the running commands have ended")
        app = next((app for app in self._pool.apps if app.path == order.app), None)
        if app is None:
            return Answer(False, f"it has no app {order.app}")
        pid = order.process
        if pid is not None and pid not in [host.pid for host in app.hosts]:
            return Answer(False, no_such_process(app, pid))
        match order:
            case Restart():
                return restart(app, pid, rolling=order.rolling)
            case Drain():
                return drain(app, pid)


def _awaited(answer: concurrent.futures.Future[Answer], loop: asyncio.AbstractEventLoop) -> Answer:
    """The answer, once the loop has given it. A loop that does not run may be between two runs, or
    nobody may run it again.

    Raises:
        TimeoutError: the loop stands still, or does not run.
    """
    if not loop.is_running():
        try:
            return answer.result(_NO_RUN_PATIENCE_S)
        except concurrent.futures.TimeoutError:
            if not loop.is_running():
                raise
    return answer.result(_LOOP_PATIENCE_S)
