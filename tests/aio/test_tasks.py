"""Supervised tasks: they are kept until they end, they have names, and their errors are logged."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest
import uvloop
from aio.coroutines import callbacks_ran, fail, wait_for_ever
from waiting import PATIENCE_S

from mpkernel.aio import cancel_and_wait, fire_and_forget, supervised_task

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
on_a_loop = pytest.mark.usefixtures("no_task_left")


# supervised_task


@on_a_loop
async def test_a_supervised_task_has_its_name_and_gives_its_result() -> None:
    async def answer() -> int:
        return 42

    task = supervised_task(answer(), name="answer")
    assert task.get_name() == "answer"
    assert await task == 42


@on_a_loop
async def test_a_supervised_task_survives_garbage_collection_without_anybody_holding_it() -> None:
    finished = asyncio.Event()

    async def wait_on_a_future_nobody_else_knows() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        wake_up.append(lambda: future.set_result(None))
        await future
        finished.set()

    wake_up: list[Any] = []
    supervised_task(wait_on_a_future_nobody_else_knows(), name="unheld")
    await asyncio.sleep(0)
    gc.collect()
    wake_up.pop()()
    await asyncio.wait_for(finished.wait(), PATIENCE_S)
    await callbacks_ran()


@on_a_loop
async def test_a_cycle_that_only_the_supervision_holds_is_not_collected() -> None:
    collected: list[str] = []

    async def wait_on_itself() -> None:
        future = asyncio.get_running_loop().create_future()
        try:
            await future
        finally:
            collected.append("closed")

    supervised_task(wait_on_itself(), name="cycle")
    await asyncio.sleep(0)
    gc.collect()
    assert collected == []
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "cycle")
    await cancel_and_wait(task)


@on_a_loop
async def test_the_registry_holds_the_task_until_it_ends() -> None:
    registry: set[asyncio.Task[Any]] = set()
    task = supervised_task(wait_for_ever(), name="registered", registry=registry)
    assert registry == {task}
    await cancel_and_wait(task)
    assert registry == set()


@on_a_loop
async def test_an_error_is_logged_once_with_the_name_of_the_task(
    complaints: list[logging.LogRecord],
) -> None:
    task = supervised_task(fail(), name="doomed")
    await asyncio.wait([task])
    del task
    gc.collect()
    (record,) = complaints
    assert "doomed" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


@on_a_loop
async def test_an_error_goes_to_on_exception_instead_of_the_log(
    complaints: list[logging.LogRecord],
) -> None:
    errors: list[BaseException] = []
    task = supervised_task(fail(), name="doomed", on_exception=errors.append)
    await asyncio.wait([task])
    assert [str(error) for error in errors] == ["broken"]
    assert complaints == []


@on_a_loop
async def test_a_failing_on_exception_loses_neither_error(
    complaints: list[logging.LogRecord],
) -> None:
    def refuse(_: BaseException) -> None:
        raise ArithmeticError("the handler is broken")

    await asyncio.wait([supervised_task(fail(), name="doomed", on_exception=refuse)])
    kinds = [record.exc_info[0] for record in complaints if record.exc_info]
    assert kinds == [LookupError, ArithmeticError]


@on_a_loop
async def test_a_cancelled_task_is_neither_logged_nor_handed_over(
    complaints: list[logging.LogRecord],
) -> None:
    errors: list[BaseException] = []
    for on_exception in (None, errors.append):
        task = supervised_task(wait_for_ever(), name="cancelled", on_exception=on_exception)
        await cancel_and_wait(task)
    assert errors == []
    assert complaints == []


def test_without_a_loop_a_supervised_task_is_refused_and_its_coroutine_closed() -> None:
    coroutine = wait_for_ever()
    with pytest.raises(RuntimeError, match="no running event loop"):
        supervised_task(coroutine, name="nowhere")
    with pytest.raises(RuntimeError, match="cannot reuse"):
        coroutine.send(None)


# fire_and_forget


def test_without_a_loop_fire_and_forget_runs_to_the_end_on_the_projects_kind_of_loop() -> None:
    seen: list[object] = []

    async def look_around() -> None:
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        seen.extend([type(asyncio.get_running_loop()), task.get_name()])

    assert fire_and_forget(look_around(), name="looker") is None
    assert seen == [uvloop.Loop, "looker"]


def test_without_a_loop_fire_and_forget_raises_the_error_to_the_caller_who_waited(
    complaints: list[logging.LogRecord],
) -> None:
    with pytest.raises(LookupError, match="broken"):
        fire_and_forget(fail(), name="doomed")
    assert complaints == []


@on_a_loop
async def test_on_a_loop_fire_and_forget_returns_the_named_task_at_once() -> None:
    ran = asyncio.Event()

    async def work() -> None:
        ran.set()

    task = fire_and_forget(work(), name="forgotten")
    assert task is not None
    assert task.get_name() == "forgotten"
    assert not ran.is_set()
    await asyncio.wait_for(ran.wait(), PATIENCE_S)
    await callbacks_ran()


@on_a_loop
async def test_on_a_loop_the_error_of_a_forgotten_task_is_logged_once(
    complaints: list[logging.LogRecord],
) -> None:
    task = fire_and_forget(fail(), name="forgotten")
    assert task is not None
    await asyncio.wait([task])
    del task
    gc.collect()
    assert ["forgotten" in record.getMessage() for record in complaints] == [True]
