"""`in_slices`: long work on the loop, between whose slices the loop does other work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from turns import Turns, work

from mpkernel.aio import cancel_and_wait, in_slices, supervised_task

pytestmark = pytest.mark.usefixtures("no_task_left")


async def test_every_item_is_done_once_and_in_order() -> None:
    done: list[int] = []
    await in_slices(range(1000), done.append, slice_s=0.0)
    assert done == list(range(1000))


async def test_short_work_is_done_before_anything_else_runs() -> None:
    done: list[int] = []
    with Turns() as turns:
        await in_slices(range(3), done.append, slice_s=60)
    assert done == [0, 1, 2]
    assert turns.count == 1


async def test_the_loop_goes_round_between_two_slices() -> None:
    turn_of: list[int] = []
    with Turns() as turns:

        def note_the_turn(item: int) -> None:
            work(0.001)
            turn_of.append(turns.count)

        await in_slices(range(20), note_the_turn, slice_s=0.002)
    assert max(turn_of.count(turn) for turn in turn_of) <= 2


async def test_several_callers_share_a_slice_and_take_turns() -> None:
    workers_of: dict[int, list[int]] = {}
    with Turns() as turns:

        def worker(number: int) -> None:
            workers_of.setdefault(turns.count, []).append(number)

        await asyncio.gather(
            *(in_slices([number] * 10, worker, slice_s=0.0) for number in range(5))
        )
    # The counter of turns is itself called once a turn, before the work or after it.
    assert all(len(workers) <= 2 for workers in workers_of.values())
    order = [number for workers in workers_of.values() for number in workers]
    assert sorted(order) == sorted([*range(5)] * 10)
    assert set(order[:7]) == set(range(5))


async def test_a_short_work_does_not_wait_for_the_end_of_a_long_one() -> None:
    ended: list[str] = []

    async def do(name: str, count: int) -> None:
        await in_slices(range(count), lambda _: None, slice_s=0.0)
        ended.append(name)

    await asyncio.gather(do("long", 1000), do("short", 10))
    assert ended == ["short", "long"]


async def test_one_items_exception_does_not_stop_the_others(
    complaints: list[logging.LogRecord],
) -> None:
    done: list[int] = []

    def fail_for_odd_numbers(item: int) -> None:
        if item % 2:
            raise LookupError(f"no {item}")
        done.append(item)

    await in_slices(range(100), fail_for_odd_numbers)
    assert done == list(range(0, 100, 2))
    first, last = complaints
    assert first.exc_info is not None
    assert str(first.exc_info[1]) == "no 1"
    assert "50 items failed" in last.getMessage()


async def test_the_caller_may_deal_with_each_exception_itself(
    complaints: list[logging.LogRecord],
) -> None:
    failed: list[tuple[int, str]] = []
    await in_slices(
        (0, 1, 0, 2),
        lambda item: 1 // item,
        on_error=lambda item, error: failed.append((item, type(error).__name__)),
    )
    assert failed == [(0, "ZeroDivisionError")] * 2
    assert complaints == []


async def test_a_cancellation_ends_the_work_between_two_items_and_others_go_on() -> None:
    begun = asyncio.Event()
    done: list[int] = []

    def for_ever() -> Iterator[int]:
        while True:
            yield 0

    task = supervised_task(in_slices(for_ever(), lambda item: begun.set()), name="for ever")
    await begun.wait()
    await cancel_and_wait(task)
    await in_slices(range(3), done.append)
    assert done == [0, 1, 2]


async def test_an_iteration_that_fails_ends_the_work_and_the_next_caller_goes_on() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise RuntimeError("changed")

    done: list[int] = []
    with pytest.raises(RuntimeError, match="changed"):
        await in_slices(broken(), done.append)
    await in_slices([2], done.append)
    assert done == [1, 2]
