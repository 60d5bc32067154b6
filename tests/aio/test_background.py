"""`BackgroundTask`: its start, its stop on the loop, and what becomes of an error of its work."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aio.works import StubbornWork, Work, started
from waiting import PATIENCE_S

from mpkernel.aio import BackgroundTask

on_a_loop = pytest.mark.usefixtures("no_task_left")


@on_a_loop
async def test_a_stop_cancels_the_work_and_waits_for_its_cleaning_up() -> None:
    work = Work()
    background = await started(work)
    assert background.running
    await background.stop()
    assert not background.running
    assert (work.starts, work.cleaned_up) == (1, 1)
    assert background.exception is None


@on_a_loop
async def test_the_task_carries_the_name() -> None:
    background = await started(Work(), name="watchdog")
    assert "watchdog" in {task.get_name() for task in asyncio.all_tasks()}
    assert repr(background) == "<BackgroundTask 'watchdog' running>"
    await background.stop()
    assert repr(background) == "<BackgroundTask 'watchdog' not running>"


@on_a_loop
async def test_stopping_what_does_not_run_does_nothing() -> None:
    work = Work()
    background = BackgroundTask(work, name="work")
    await background.stop()
    background.stop_sync()
    background.start()
    await asyncio.sleep(0)
    await background.stop()
    await background.stop()
    background.stop_sync()
    assert work.cancellations == 1


@on_a_loop
async def test_a_second_start_while_it_runs_is_refused() -> None:
    work = Work()
    background = await started(work, name="single")
    with pytest.raises(RuntimeError, match="'single' is already running"):
        background.start()
    await background.stop()
    assert work.starts == 1


@on_a_loop
async def test_it_starts_again_after_its_end() -> None:
    work = Work()
    background = await started(work)
    await background.stop()
    background.start()
    await asyncio.sleep(0)
    assert background.running
    await background.stop()
    assert (work.starts, work.cleaned_up) == (2, 2)


def test_a_start_without_a_loop_is_refused() -> None:
    background = BackgroundTask(Work(), name="work")
    with pytest.raises(RuntimeError, match="no running event loop"):
        background.start()
    assert not background.running


@on_a_loop
async def test_as_a_context_manager_it_runs_inside_and_not_outside() -> None:
    work = Work()
    async with BackgroundTask(work, name="work") as background:
        await asyncio.sleep(0)
        assert background.running
    assert not background.running
    assert work.cleaned_up == 1


@on_a_loop
async def test_work_that_does_not_end_in_time_is_named() -> None:
    work = StubbornWork()
    background = await started(work, name="stubborn")
    with pytest.raises(TimeoutError, match=r"'stubborn' still runs 0\.01 s after"):
        await background.stop(timeout=0.01)
    assert background.running
    work.release.set()
    await background.stop()
    assert not background.running


@on_a_loop
async def test_stops_that_wait_together_cancel_once_and_a_stop_after_a_timeout_again() -> None:
    work = StubbornWork()
    background = await started(work)
    for expected in (1, 2):
        together = await asyncio.gather(
            background.stop(0.01), background.stop(0.01), return_exceptions=True
        )
        assert [type(outcome) for outcome in together] == [TimeoutError, TimeoutError]
        assert work.cancellations == expected
    work.release.set()
    await background.stop()


@on_a_loop
async def test_a_second_stop_does_not_break_into_the_cleaning_up() -> None:
    work = StubbornWork()
    background = await started(work)
    stops = []
    for _ in range(2):
        stops.append(asyncio.create_task(background.stop()))
        for _ in range(3):
            await asyncio.sleep(0)
        assert work.cancellations == 1
    work.release.set()
    await asyncio.gather(*stops)


@on_a_loop
async def test_the_callers_own_cancellation_is_not_swallowed_by_stop() -> None:
    work = StubbornWork()
    background = await started(work)
    caller = asyncio.create_task(background.stop())
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    assert background.running
    work.release.set()
    await background.stop()


@on_a_loop
async def test_an_error_is_logged_once_and_kept_and_not_raised_by_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail_while_cleaning_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("cleaning up failed")

    background = await started(fail_while_cleaning_up, name="clumsy")
    assert background.exception is None
    await background.stop()
    assert isinstance(background.exception, LookupError)
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert "clumsy" in record.getMessage()


@on_a_loop
async def test_an_error_goes_to_on_exception_when_there_is_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def fail() -> None:
        raise LookupError("broken")

    background = BackgroundTask(fail, name="broken", on_exception=heard.set_result)
    background.start()
    assert isinstance(await asyncio.wait_for(heard, PATIENCE_S), LookupError)
    assert not background.running
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@on_a_loop
async def test_the_work_cannot_wait_for_its_own_end() -> None:
    async def stop_myself() -> None:
        await background.stop()

    background = BackgroundTask(stop_myself, name="narcissus", on_exception=lambda _: None)
    background.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "'narcissus' cannot wait for its own end" in str(background.exception)
