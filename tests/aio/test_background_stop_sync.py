"""`BackgroundTask.stop_sync`: on the loop's thread, on another, and without a running loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from aio.works import StubbornWork, Work, started
from waiting import PATIENCE_S

from mpkernel.aio import BackgroundTask
from mpkernel.aio import background as background_module

on_a_loop = pytest.mark.usefixtures("no_task_left")


def start_on(loop: asyncio.AbstractEventLoop, work: Callable[[], Any]) -> BackgroundTask:
    """A background task on a loop that runs in another thread."""
    return asyncio.run_coroutine_threadsafe(started(work), loop).result(PATIENCE_S)


@on_a_loop
async def test_from_the_loops_own_thread_a_sync_stop_only_requests_the_end() -> None:
    work = Work()
    background = await started(work)
    background.stop_sync(timeout=PATIENCE_S)
    assert background.running
    await background.stop()
    assert not background.running
    assert (work.cancellations, work.cleaned_up) == (1, 1)


def test_from_another_thread_a_sync_stop_blocks_until_the_end(
    loop_on_a_thread: asyncio.AbstractEventLoop,
) -> None:
    work = Work()
    background = start_on(loop_on_a_thread, work)
    background.stop_sync(timeout=PATIENCE_S)
    assert not background.running
    assert work.cleaned_up == 1
    assert work.thread is not threading.current_thread()


def test_from_another_thread_without_a_timeout_a_sync_stop_waits_as_long_as_it_takes(
    loop_on_a_thread: asyncio.AbstractEventLoop,
) -> None:
    work = StubbornWork()
    background = start_on(loop_on_a_thread, work)
    loop_on_a_thread.call_soon_threadsafe(
        loop_on_a_thread.call_later, 0.3, lambda: work.release.set()
    )
    background.stop_sync()
    assert not background.running
    assert work.cancellations == 1


def test_from_another_thread_a_sync_stop_names_what_does_not_end_in_time(
    loop_on_a_thread: asyncio.AbstractEventLoop,
) -> None:
    work = StubbornWork()
    background = start_on(loop_on_a_thread, work)
    for expected in (1, 2):
        with pytest.raises(TimeoutError, match=r"'work' still runs 0\.05 s after"):
            background.stop_sync(timeout=0.05)
        assert work.cancellations == expected
    loop_on_a_thread.call_soon_threadsafe(work.release.set)
    background.stop_sync(timeout=PATIENCE_S)


def test_from_another_thread_a_sync_stop_gives_up_in_time_when_the_loop_is_blocked(
    loop_on_a_thread: asyncio.AbstractEventLoop,
) -> None:
    background = start_on(loop_on_a_thread, Work())
    blocked, go_on = threading.Event(), threading.Event()
    loop_on_a_thread.call_soon_threadsafe(lambda: (blocked.set(), go_on.wait(PATIENCE_S)))
    assert blocked.wait(PATIENCE_S)
    with pytest.raises(TimeoutError, match="'work' still runs"):
        background.stop_sync(timeout=0.05)
    go_on.set()
    background.stop_sync(timeout=PATIENCE_S)
    assert not background.running


def test_a_sync_stop_from_another_loop_waits_for_the_works_loop(
    loop_on_a_thread: asyncio.AbstractEventLoop,
) -> None:
    background = start_on(loop_on_a_thread, Work())

    async def main() -> None:
        with pytest.raises(RuntimeError, match="runs on another event loop; use stop_sync"):
            await background.stop()
        background.stop_sync(timeout=PATIENCE_S)

    asyncio.run(main())
    assert not background.running


def test_with_the_loop_stopped_a_sync_stop_runs_it_to_the_end(
    loop: asyncio.AbstractEventLoop,
) -> None:
    work = Work()
    background = loop.run_until_complete(started(work))
    background.stop_sync(timeout=PATIENCE_S)
    assert not background.running
    assert work.thread is threading.current_thread()


def test_with_the_loop_stopped_a_sync_stop_keeps_to_its_timeout(
    loop: asyncio.AbstractEventLoop,
) -> None:
    work = StubbornWork()
    background = loop.run_until_complete(started(work))
    with pytest.raises(TimeoutError, match=r"'work' still runs 0\.01 s after"):
        background.stop_sync(timeout=0.01)
    work.release.set()
    background.stop_sync()
    assert not background.running


def test_with_the_loop_and_its_thread_gone_a_sync_stop_runs_it_here(
    loop: asyncio.AbstractEventLoop,
) -> None:
    work = Work()
    made: list[BackgroundTask] = []
    thread = threading.Thread(target=lambda: made.append(loop.run_until_complete(started(work))))
    thread.start()
    thread.join(PATIENCE_S)
    made[0].stop_sync(timeout=PATIENCE_S)
    assert not made[0].running
    assert work.thread is threading.current_thread()


def test_with_the_loop_stopped_a_sync_stop_from_another_thread_runs_it_there(
    loop: asyncio.AbstractEventLoop,
) -> None:
    work = Work()
    background = loop.run_until_complete(started(work))
    thread = threading.Thread(target=background.stop_sync)
    thread.start()
    thread.join(PATIENCE_S)
    assert not background.running
    assert work.thread is thread


def test_a_gap_between_two_runs_of_the_loop_is_left_to_its_own_thread(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_module, "_LOOK_AGAIN_S", PATIENCE_S)
    work = Work()
    in_the_gap, stopping, ended = threading.Event(), threading.Event(), asyncio.Event()
    made: list[BackgroundTask] = []

    async def work_and_tell() -> None:
        try:
            await work()
        finally:
            ended.set()

    def run_twice() -> None:
        made.append(loop.run_until_complete(started(work_and_tell)))
        in_the_gap.set()
        stopping.wait(PATIENCE_S)
        loop.run_until_complete(ended.wait())

    thread = threading.Thread(target=run_twice)
    thread.start()
    assert in_the_gap.wait(PATIENCE_S)
    threading.Timer(0.01, stopping.set).start()
    made[0].stop_sync(timeout=PATIENCE_S)
    thread.join(PATIENCE_S)
    assert work.thread is thread


def test_a_loop_that_its_own_thread_runs_again_just_in_time_is_left_to_it() -> None:
    class LooksStopped(asyncio.SelectorEventLoop):
        """A loop that, asked twice on the main thread, says that it does not run."""

        answers = iter([False, False])

        def is_running(self) -> bool:
            if threading.current_thread() is threading.main_thread():
                return next(self.answers, super().is_running())
            return super().is_running()

    loop = LooksStopped()
    work = StubbornWork()
    made: list[BackgroundTask] = []
    ready = threading.Event()

    async def main() -> None:
        made.append(await started(work))
        ready.set()
        await asyncio.sleep(0.3)
        work.release.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert ready.wait(PATIENCE_S)
    made[0].stop_sync()
    thread.join(PATIENCE_S)
    loop.close()
    assert not made[0].running
    assert work.cancellations == 1


def test_a_loop_that_stops_under_the_wait_is_run_by_the_one_who_waits(
    loop: asyncio.AbstractEventLoop,
) -> None:
    work = StubbornWork()
    made: list[BackgroundTask] = []

    async def start_and_run_until_told_to_stop() -> None:
        made.append(await started(work))
        running.set()
        while not work.cancellations:
            await asyncio.sleep(0)
        loop.call_later(0, work.release.set)

    running = threading.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(start_and_run_until_told_to_stop())
    )
    thread.start()
    assert running.wait(PATIENCE_S)
    made[0].stop_sync(timeout=PATIENCE_S)
    thread.join(PATIENCE_S)
    assert not made[0].running


def test_with_the_loop_stopped_a_thread_that_runs_another_loop_is_refused(
    loop: asyncio.AbstractEventLoop,
) -> None:
    background = loop.run_until_complete(started(Work()))

    async def main() -> None:
        with pytest.raises(RuntimeError, match="'work' is stopped and this thread runs another"):
            background.stop_sync()

    asyncio.run(main())
    background.stop_sync()


def test_with_the_loop_closed_a_sync_stop_does_nothing(loop: asyncio.AbstractEventLoop) -> None:
    release = asyncio.Event()
    background = loop.run_until_complete(started(release.wait))
    (task,) = asyncio.all_tasks(loop)
    loop.close()
    background.stop_sync(timeout=PATIENCE_S)
    assert background.running
    assert not task.cancelling()
    # Nothing can run it any more; asyncio would say so when it is collected.
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_runner_that_ends_while_a_sync_stop_waits_sets_it_free(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    work = Work()
    ready, stopped = threading.Event(), threading.Event()
    made: list[BackgroundTask] = []

    async def main() -> None:
        made.append(await started(work))
        ready.set()

    def stop() -> None:
        ready.wait(PATIENCE_S)
        made[0].stop_sync()
        stopped.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert stopped.wait(PATIENCE_S)
    thread.join(PATIENCE_S)
    assert not made[0].running
    assert work.cancellations == 1
