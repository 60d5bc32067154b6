"""`Lifespans`: the order of several lifespans, and errors in each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from waiting import PATIENCE_S

from mpkernel.aio import Lifespan, Lifespans

pytestmark = pytest.mark.usefixtures("no_task_left")

Log = list[str]


def logged(name: str) -> Lifespan[Log]:
    @asynccontextmanager
    async def lifespan(log: Log) -> AsyncIterator[None]:
        log.append(f"enter {name}")
        try:
            yield
        except BaseException as error:
            log.append(f"{name} sees {type(error).__name__}")
            raise
        finally:
            log.append(f"exit {name}")

    return lifespan


@asynccontextmanager
async def refusing(log: Log) -> AsyncIterator[None]:
    raise LookupError("no such thing")
    yield


@asynccontextmanager
async def greedy(log: Log) -> AsyncIterator[None]:
    """A lifespan that suppresses errors."""
    try:
        yield
    except (LookupError, asyncio.CancelledError) as error:
        log.append(f"greedy keeps {type(error).__name__}")


@asynccontextmanager
async def failing_at_exit(log: Log) -> AsyncIterator[None]:
    yield
    raise ArithmeticError("exit failed")


async def test_lifespans_enter_in_order_and_exit_in_reverse() -> None:
    log: Log = []
    async with Lifespans([logged("one"), logged("two"), logged("three")])(log):
        log.append("serving")
    assert log == [
        *("enter one", "enter two", "enter three"),
        "serving",
        *("exit three", "exit two", "exit one"),
    ]


async def test_no_lifespans_at_all_are_fine() -> None:
    log: Log = []
    async with Lifespans[Log]([])(log):
        log.append("serving")
    assert log == ["serving"]


async def test_the_same_lifespans_serve_one_application_after_another() -> None:
    lifespans = Lifespans([logged("one")])
    for _ in range(2):
        log: Log = []
        async with lifespans(log):
            pass
        assert log == ["enter one", "exit one"]


async def test_an_error_on_entering_the_third_exits_the_first_two() -> None:
    log: Log = []
    with pytest.raises(LookupError, match="no such thing"):
        async with Lifespans([logged("one"), logged("two"), refusing, logged("four")])(log):
            log.append("serving")
    assert log == [
        *("enter one", "enter two"),
        *("two sees LookupError", "exit two"),
        *("one sees LookupError", "exit one"),
    ]


async def test_cancellation_goes_through_all_lifespans_to_the_caller() -> None:
    log: Log = []
    serving = asyncio.Event()

    async def serve() -> None:
        async with Lifespans([logged("one"), logged("two")])(log):
            serving.set()
            await asyncio.Event().wait()

    server = asyncio.create_task(serve())
    await asyncio.wait_for(serving.wait(), PATIENCE_S)
    server.cancel()
    await asyncio.wait([server])
    assert server.cancelled()
    assert log[2:] == [
        *("two sees CancelledError", "exit two"),
        *("one sees CancelledError", "exit one"),
    ]


async def test_cancellation_while_entering_exits_what_was_entered() -> None:
    log: Log = []
    entering = asyncio.Event()

    @asynccontextmanager
    async def slow(log: Log) -> AsyncIterator[None]:
        entering.set()
        await asyncio.Event().wait()
        yield

    async def serve() -> None:
        async with Lifespans([logged("one"), slow])(log):
            log.append("serving")

    server = asyncio.create_task(serve())
    await asyncio.wait_for(entering.wait(), PATIENCE_S)
    server.cancel()
    await asyncio.wait([server])
    assert server.cancelled()
    assert log == ["enter one", "one sees CancelledError", "exit one"]


async def test_a_lifespan_cannot_keep_a_cancellation_from_the_server() -> None:
    log: Log = []
    serving = asyncio.Event()

    async def serve() -> None:
        async with Lifespans([logged("one"), greedy])(log):
            serving.set()
            await asyncio.Event().wait()

    server = asyncio.create_task(serve())
    await asyncio.wait_for(serving.wait(), PATIENCE_S)
    server.cancel()
    await asyncio.wait([server])
    assert server.cancelled()
    assert "greedy keeps CancelledError" in log
    assert log[-1] == "exit one"


async def test_a_lifespan_cannot_keep_another_ones_failed_start_from_the_server() -> None:
    log: Log = []
    with pytest.raises(LookupError, match="no such thing"):
        async with Lifespans([greedy, refusing])(log):
            log.append("serving")
    assert log == ["greedy keeps LookupError"]


async def test_a_failing_exit_is_raised_after_the_others_have_exited() -> None:
    log: Log = []
    with pytest.raises(ArithmeticError, match="exit failed"):
        async with Lifespans([logged("one"), failing_at_exit])(log):
            pass
    assert log[-1] == "exit one"
