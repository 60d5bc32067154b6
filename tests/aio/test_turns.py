"""When several ask for a lot of work in one turn of the loop, its time is shared, and each gets a
part."""

from __future__ import annotations

import asyncio
import functools
import gc
import time
import weakref

from waiting import PATIENCE_S

from mpkernel.aio.turns import turn_of


async def test_a_turn_that_nobody_asked_is_not_over() -> None:
    assert not turn_of(asyncio.get_running_loop()).is_over


async def test_a_turn_is_over_after_some_milliseconds_and_the_next_one_is_not() -> None:
    turn = turn_of(asyncio.get_running_loop())
    assert turn.has_time_left()
    time.sleep(0.01)
    assert turn.is_over
    assert not turn.has_time_left()
    await asyncio.sleep(0)
    assert not turn.is_over


async def test_all_who_need_many_turns_go_on_in_order_and_all_else_goes_on_meanwhile() -> None:
    turn = turn_of(asyncio.get_running_loop())
    worked: list[str] = []
    done = asyncio.Event()

    def work(name: str) -> None:
        assert turn.has_time_left()
        time.sleep(0.006)  # more than a turn
        worked.append(name)
        if len(worked) == 9:
            done.set()
        elif len(worked) < 7:
            turn.later(functools.partial(work, name))

    for name in "abc":
        turn.later(functools.partial(work, name))
    turns = 0
    while not done.is_set():
        turns += 1
        await asyncio.sleep(0)
    assert worked == list("abcabcabc")
    assert turns >= 9


async def test_one_exception_does_not_stop_those_who_wait() -> None:
    turn = turn_of(asyncio.get_running_loop())
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(context["exception"])
    )
    error = ValueError("one of several")

    def fail() -> None:
        raise error

    done = asyncio.Event()
    turn.later(fail)
    turn.later(done.set)
    async with asyncio.timeout(PATIENCE_S):
        await done.wait()
    assert told == [error]


def test_a_loop_that_has_ended_is_not_kept() -> None:
    loop = asyncio.new_event_loop()

    async def ask() -> None:
        assert turn_of(asyncio.get_running_loop()).has_time_left()

    loop.run_until_complete(ask())
    loop.close()
    seen = weakref.ref(loop)
    del loop
    gc.collect()
    assert seen() is None
