"""Work that runs beside everything else on a loop, and the ways to end it.

It can be ended by code on the loop (`BackgroundTask.stop`), by code on another thread, and by code
that cleans up when the loop no longer runs (both with `BackgroundTask.stop_sync`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from mpkernel.aio.loops import running_loop
from mpkernel.aio.tasks import supervised_task

__all__ = ["BackgroundTask"]

logger = logging.getLogger(__name__)

# How long another thread waits before it asks again whether the loop still runs.
_LOOK_AGAIN_S = 0.1


class BackgroundTask:
    """A coroutine function run as one supervised task at a time, with a start and a stop.

    An error of the work is logged once, or handed to ``on_exception``, and `exception` keeps it. No
    stop raises it. ``async with`` starts the work on entry, and stops it on exit, without a time
    limit.

    The idea is marimo's class of that name, as hardened in its pull request 9552.

    Args:
        work: called at each start; the coroutine that it returns is run. A stop cancels this
            coroutine, which may then take its time to clean up.
        name: the task's name, in logs and errors.
        on_exception: called on the loop with an error of the work. None: log it.
    """

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        name: str,
        on_exception: Callable[[BaseException], object] | None = None,
    ) -> None:
        self.name = name
        self._work = work
        self._on_exception = on_exception
        self._run: _Run | None = None

    def __repr__(self) -> str:
        return f"<BackgroundTask {self.name!r} {'running' if self.running else 'not running'}>"

    @property
    def running(self) -> bool:
        """Whether the work has been started and has not ended; True while it cleans up."""
        return self._run is not None and not self._run.task.done()

    @property
    def exception(self) -> BaseException | None:
        """The error that ended the last run, or None (not started, running, ended or cancelled)."""
        if self._run is None or not self._run.task.done() or self._run.task.cancelled():
            return None
        return self._run.task.exception()

    def start(self) -> None:
        """Start the work on the running loop. After its end the work may be started again.

        Raises:
            RuntimeError: the work still runs, or no loop runs in this thread.
        """
        if self.running:
            raise RuntimeError(f"background task {self.name!r} is already running; stop it first")
        task = supervised_task(self._work(), name=self.name, on_exception=self._on_exception)
        run = _Run(task)
        task.add_done_callback(run.note_end)
        self._run = run

    async def stop(self, timeout: float | None = None) -> None:
        """Cancel the work, and return when it has ended. If the work does not run, nothing is done.

        The work is cancelled once, however many stops wait for it: a second cancellation would
        break into its cleaning up. Only a stop after one that ran out of time cancels again.

        Args:
            timeout: seconds to wait for the end; None waits without a bound.

        Raises:
            TimeoutError: it still runs after ``timeout``.
            asyncio.CancelledError: the caller was cancelled; the work stays cancelled.
            RuntimeError: called from the work itself, or on a loop that is not the work's.
        """
        run = self._run
        if run is None or run.task.done():
            return
        if run.loop is not asyncio.get_running_loop():
            raise RuntimeError(
                f"background task {self.name!r} runs on another event loop; use stop_sync"
            )
        if run.task is asyncio.current_task():
            raise RuntimeError(
                f"background task {self.name!r} cannot wait for its own end; let it return"
            )
        run.request_stop()
        done, _ = await asyncio.wait([run.task], timeout=timeout)
        if not done:
            raise self._overdue(run, timeout)

    def stop_sync(self, timeout: float | None = None) -> None:
        """Stop the work from code that cannot await. If the work does not run, nothing is done.

        - From another thread, while the loop runs: asks the loop to stop the work and blocks until
          it has ended.
        - From the loop's own thread, while it runs: only requests the stop and returns at once, as
          blocking here would keep the work from ever ending. `running` turns False later;
          ``await stop()`` waits for it.
        - With the loop stopped: runs the loop in the calling thread until the work has ended. If
          another thread started the work and lives on, it gets a moment to go on with its loop
          first, so that a gap between two of its runs is not mistaken for a stop.
        - With the loop closed: does nothing. The work can never run again, not even to clean up,
          and `running` stays as it was.

        Args:
            timeout: seconds to wait for the end; None waits without a bound. Not used on the loop's
                own thread.

        Raises:
            TimeoutError: it still runs after ``timeout``.
            RuntimeError: the loop is stopped and cannot be run here, as this thread runs another.
        """
        run = self._run
        if run is None or run.task.done():
            return
        if running_loop() is run.loop:
            run.request_stop()
        elif run.loop.is_closed():
            logger.debug("work is not stopped: its loop is closed task=%s", self.name)
        elif run.loop.is_running() or run.home_thread_goes_on():
            self._stop_from_another_thread(run, timeout)
        else:
            self._drive_to_the_end(run, timeout)

    async def __aenter__(self) -> BackgroundTask:
        self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _stop_from_another_thread(self, run: _Run, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            run.loop.call_soon_threadsafe(run.request_stop)
        except RuntimeError:
            if run.loop.is_closed():
                return
            raise
        # The loop may be stopped or closed while we wait, and then nobody sets the event.
        while not run.ended.wait(_seconds_until(deadline, at_most=_LOOK_AGAIN_S)):
            if run.loop.is_closed():
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise self._overdue(run, timeout)
            if not run.loop.is_running():
                remaining = None if deadline is None else _seconds_until(deadline)
                try:
                    self._drive_to_the_end(run, remaining)
                except RuntimeError:
                    # The loop's own thread may have begun to run it again a moment ago.
                    if not run.loop.is_running():
                        raise

    def _drive_to_the_end(self, run: _Run, timeout: float | None) -> None:
        if running_loop() is not None:
            raise RuntimeError(
                f"the loop of background task {self.name!r} is stopped and this thread runs another"
                " one; call stop_sync from a thread without a running loop"
            )
        # It is made a task at once. If the loop cannot be run here after all, a mere coroutine
        # would be reported as never awaited.
        stopping = run.loop.create_task(self.stop(timeout), name=f"stop {self.name}")
        run.loop.run_until_complete(stopping)

    def _overdue(self, run: _Run, timeout: float | None) -> TimeoutError:
        run.stop_requested = False
        return TimeoutError(
            f"background task {self.name!r} still runs {timeout} s after it was told to stop;"
            " it does not end although it was cancelled, or the loop is blocked"
        )


@dataclass(eq=False)
class _Run:
    """One start of the work, up to its end."""

    task: asyncio.Task[None]
    home: threading.Thread = field(default_factory=threading.current_thread)
    ended: threading.Event = field(default_factory=threading.Event)
    # Set on the loop's thread only. A stop that ran out of time clears it, from any thread.
    stop_requested: bool = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.task.get_loop()

    def request_stop(self) -> None:
        if not self.stop_requested:
            self.stop_requested = True
            self.task.cancel()

    def note_end(self, _: asyncio.Task[None]) -> None:
        self.ended.set()

    def home_thread_goes_on(self) -> bool:
        return self.home is not threading.current_thread() and self.home.is_alive()


def _seconds_until(deadline: float | None, at_most: float = float("inf")) -> float:
    if deadline is None:
        return at_most
    return min(at_most, max(0.0, deadline - time.monotonic()))
