"""`cancel_and_wait`: the task has ended when it returns, however the task answers."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from aio.coroutines import fail, started, wait_for_ever

from mpkernel.aio import cancel_and_wait

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
on_a_loop = pytest.mark.usefixtures("no_task_left")


@on_a_loop
async def test_cancelling_waits_until_the_task_has_cleaned_up() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            await wait_for_ever()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    task = await started(work())
    await cancel_and_wait(task)
    assert steps == ["cleaned up"]
    assert task.cancelled()


@on_a_loop
async def test_a_task_that_answers_its_cancellation_by_returning_is_fine() -> None:
    async def work() -> str:
        try:
            await wait_for_ever()
        except asyncio.CancelledError:
            return "done anyway"
        return "not reached"

    task = await started(work())
    await cancel_and_wait(task)
    assert task.result() == "done anyway"


@on_a_loop
async def test_a_real_error_on_the_way_out_propagates() -> None:
    async def work() -> None:
        try:
            await wait_for_ever()
        finally:
            await fail("cleaning up failed")

    task = await started(work())
    with pytest.raises(LookupError, match="cleaning up failed"):
        await cancel_and_wait(task)


@on_a_loop
async def test_a_task_that_failed_before_is_not_raised_and_not_complained_about(
    complaints: list[logging.LogRecord],
) -> None:
    task = await started(fail())
    await cancel_and_wait(task)
    assert isinstance(task.exception(), LookupError)
    with pytest.raises(LookupError):
        task.result()
    again = await started(fail())
    await cancel_and_wait(again)
    del task, again
    gc.collect()
    assert complaints == []


@on_a_loop
async def test_a_task_that_was_cancelled_or_returned_before_is_fine() -> None:
    returned = await started(asyncio.sleep(0))
    await returned
    await cancel_and_wait(returned)
    cancelled = await started(wait_for_ever())
    await cancel_and_wait(cancelled)
    await cancel_and_wait(cancelled)
    assert cancelled.cancelled()


@on_a_loop
async def test_the_callers_own_cancellation_is_not_swallowed() -> None:
    let_go = asyncio.Event()

    async def resist() -> None:
        try:
            await wait_for_ever()
        except asyncio.CancelledError:
            await let_go.wait()
            raise

    task = await started(resist())
    caller = await started(cancel_and_wait(task))
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    assert not task.done()
    let_go.set()
    await asyncio.wait([task])
    assert task.cancelled()


@on_a_loop
async def test_a_caller_cancelled_in_the_same_turn_as_its_task_ends_is_cancelled() -> None:
    task = await started(wait_for_ever())
    caller = await started(cancel_and_wait(task))
    task.add_done_callback(lambda _: caller.cancel())
    await asyncio.wait([caller])
    assert task.cancelled()
    assert caller.cancelled()


@on_a_loop
async def test_a_timeout_bounds_the_wait_for_a_task_that_resists() -> None:
    let_go = asyncio.Event()

    async def resist() -> None:
        try:
            await wait_for_ever()
        except asyncio.CancelledError:
            await let_go.wait()

    task = await started(resist())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await cancel_and_wait(task)
    let_go.set()
    await task


@on_a_loop
async def test_a_task_cannot_wait_for_its_own_end() -> None:
    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        await cancel_and_wait(task)

    with pytest.raises(RuntimeError, match="'narcissus' cannot wait for its own end"):
        await (await started(work(), name="narcissus"))


def test_a_task_of_another_loop_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    task = loop.create_task(wait_for_ever(), name="foreign")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="'foreign' belongs to another event loop"):
            await cancel_and_wait(task)

    asyncio.run(main())
    loop.run_until_complete(cancel_and_wait(task))
