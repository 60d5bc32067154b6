"""Pools that nobody closes, or that are used on another loop, in programs that run one loop after
the other, or several at once."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import psutil
import pytest
import uvloop
from server.conftest import pipes_and_threads

from mpkernel import Channel, HostPool, KernelSpec, Session, Settings
from mpkernel.errors import PoolClosed

APP = Path(__file__).parent / "apps" / "kernels.py"

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
End = Callable[[HostPool], Coroutine[None, None, None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> LoopFactory:
    factory: LoopFactory = request.param
    return factory


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before, children_before = pipes_and_threads(), psutil.Process().children()
    yield
    assert not pipes_and_threads() - before, "descriptors or threads left behind"
    assert psutil.Process().children() == children_before, "children left behind"


async def open_echo(pool: HostPool) -> Session:
    session = await pool.open_session(APP, kernel=KernelSpec(entry="kernels:echo"))
    session.send(Channel.CONTROL, b"fine")
    assert (await anext(session)).payload == b"fine"
    return session


def with_a_standby() -> HostPool:
    return HostPool(Settings(standby=1, snapshot=True, control=True))


def test_a_pool_that_nobody_closes_ends_with_its_loop(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        pool = with_a_standby()
        pool.start()
        await open_echo(pool)

    for _ in range(3):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())


def test_so_does_one_whose_loop_is_cancelled(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with with_a_standby() as pool:
            await open_echo(pool)
            asyncio.get_running_loop().create_task(pool.close()).cancel()
            pool.close_soon()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_a_death_just_before_the_loops_end_is_seen_to(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        pool = HostPool(Settings(stop_grace_s=60.0))
        session = await open_echo(pool)
        assert session.pid is not None
        (host,) = pool.hosts
        host.kill()
        while host.is_alive:  # the session is told of the death a little later
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_where_the_loop_is_just_closed_the_next_pool_ends_it(loop_factory: LoopFactory) -> None:
    pools = []

    async def main() -> int:
        pools.append(with_a_standby())
        pools[-1].start()
        session = await open_echo(pools[-1])
        assert session.pid is not None
        return session.pid

    loop = loop_factory()
    pid = loop.run_until_complete(main())
    loop.close()
    assert psutil.pid_exists(pid)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert not psutil.pid_exists(pid)


def test_pools_of_several_loops_live_side_by_side(loop_factory: LoopFactory) -> None:
    together = threading.Barrier(3, timeout=60)
    failures: list[BaseException] = []

    async def main() -> None:
        pool = with_a_standby()
        pool.start()
        session = await open_echo(pool)
        await asyncio.to_thread(together.wait)
        session.send(Channel.CONTROL, b"still")
        assert (await anext(session)).payload == b"still"

    def one() -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(main())
        except BaseException as error:  # noqa: BLE001 (told below)
            failures.append(error)
            together.abort()

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_where_the_loop_is_just_closed_a_pool_can_be_closed_on_another(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    for end in (HostPool.close, HostPool.drain):
        pool = with_a_standby()
        loop = loop_factory()
        session = loop.run_until_complete(open_echo(pool))
        pid = session.pid
        loop.close()

        async def close(pool: HostPool, session: Session, end: End) -> None:
            with pytest.raises(PoolClosed, match="event loop was closed"):
                await open_echo(pool)
            await session.close()
            await end(pool)
            await end(pool)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(close(pool, session, end))
        assert pid is not None
        assert not psutil.pid_exists(pid)
    assert not [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_what_is_used_on_another_loop_says_so_and_goes_on(loop_factory: LoopFactory) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as first:
        pool = with_a_standby()
        session = first.run(open_echo(pool))

        async def misuse() -> None:
            calls = (pool.close, pool.drain, pool.__aenter__, session.close, session.__anext__)
            for call in (*calls, functools.partial(open_echo, pool)):
                with pytest.raises(RuntimeError, match="belongs to the event loop"):
                    await call()

        with asyncio.Runner(loop_factory=loop_factory) as other:
            thread = threading.Thread(target=other.run, args=(misuse(),))
            thread.start()
            thread.join()

        async def go_on() -> None:
            session.send(Channel.CONTROL, b"still")
            assert (await anext(session)).payload == b"still"
            await pool.close()

        first.run(go_on())


def test_what_is_for_the_loops_thread_is_refused_in_another(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        async with with_a_standby() as pool:
            session = await open_echo(pool)
            open_app = functools.partial(pool.app, APP, KernelSpec(entry="kernels:echo"))
            for call in (pool.close_soon, pool.start, open_app):
                with pytest.raises(RuntimeError, match="runs in another thread"):
                    await asyncio.to_thread(call)
            assert not pool.closed
            session.send(Channel.CONTROL, b"still")
            assert (await anext(session)).payload == b"still"

    with asyncio.Runner(loop_factory=loop_factory, debug=True) as runner:
        runner.run(main())


def test_between_two_runs_of_its_loop_a_pool_can_be_asked_to_leave(
    loop_factory: LoopFactory,
) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        pool = with_a_standby()
        runner.run(open_echo(pool))
        pool.close_soon()
        runner.run(pool.close())
