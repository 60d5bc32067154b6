"""What is done last on a loop: once, on that loop, and only if the loop is shut down in order."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable

import pytest
import uvloop

from mpkernel.aio.loop_end import LoopEnd

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> LoopFactory:
    factory: LoopFactory = request.param
    return factory


class Last:
    """What is done last, and what was seen then."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self.tasks_left: list[int] = []

    async def __call__(self) -> None:
        self.tasks_left.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0.01)
        self.threads.append(threading.get_ident())


def run(loop_factory: LoopFactory, first: Callable[[], object]) -> None:
    async def main() -> None:
        first()
        asyncio.get_running_loop().create_task(asyncio.sleep(1000))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    gc.collect()


def test_it_is_done_once_on_the_loop_after_all_tasks(loop_factory: LoopFactory) -> None:
    last, ends = Last(), []
    run(loop_factory, lambda: ends.append(LoopEnd(last)))
    assert last.threads == [threading.get_ident()]
    assert last.tasks_left[0] <= 2  # asyncio's own, which shut the loop down


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_cancelled_is_not_done(loop_factory: LoopFactory, times: int) -> None:
    last = Last()

    def begin_and_cancel() -> None:
        end = LoopEnd(last)
        for _ in range(times):
            end.cancel()

    run(loop_factory, begin_and_cancel)
    assert not last.threads


def test_another_thread_may_cancel_it(loop_factory: LoopFactory) -> None:
    last, ends = Last(), []

    def begin() -> None:
        ends.append(LoopEnd(last))
        thread = threading.Thread(target=ends[0].cancel)
        thread.start()
        thread.join()

    run(loop_factory, begin)
    assert not last.threads


def test_one_that_cancels_itself_while_it_is_done_comes_to_its_end(
    loop_factory: LoopFactory,
) -> None:
    done: list[str] = []
    ends: list[LoopEnd] = []

    async def last() -> None:
        ends[0].cancel()
        await asyncio.sleep(0)
        done.append("done")

    run(loop_factory, lambda: ends.append(LoopEnd(last)))
    assert done == ["done"]


def test_one_that_fails_keeps_no_other_from_its_end(loop_factory: LoopFactory) -> None:
    last, ends, told = Last(), [], []

    async def failing() -> None:
        raise OSError("gone")

    def begin() -> None:
        ends.extend((LoopEnd(failing), LoopEnd(last)))
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

    run(loop_factory, begin)
    assert len(last.threads) == 1
    assert [str(error) for error in told] == ["gone"]


def test_without_a_loop_there_is_none() -> None:
    with pytest.raises(RuntimeError):
        LoopEnd(Last())
