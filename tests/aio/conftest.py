"""Every test here runs on asyncio's loop and on uvloop's, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from multiprocessing import Pipe

import pytest
from aio.listeners import PipeEnds
from loop_factories import LOOP_FACTORIES, LoopFactory
from waiting import PATIENCE_S


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> Mapping[str, LoopFactory]:
    """Coroutine tests: pytest-asyncio runs each on every one of these."""
    return LOOP_FACTORIES


@pytest.fixture(params=LOOP_FACTORIES.values(), ids=LOOP_FACTORIES.keys())
def loop_factory(request: pytest.FixtureRequest) -> LoopFactory:
    """For tests that are not coroutines and run a loop themselves."""
    factory: LoopFactory = request.param
    return factory


@pytest.fixture
def loop(loop_factory: LoopFactory) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that is not running."""
    loop = loop_factory()
    yield loop
    loop.close()


@pytest.fixture
def loop_on_a_thread(
    loop: asyncio.AbstractEventLoop,
) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in another thread."""
    thread = threading.Thread(target=loop.run_forever, name="loop-thread")
    loop.call_soon_threadsafe(lambda: None)
    thread.start()
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE_S)


@pytest.fixture(params=[False, True], ids=["one-way", "duplex"])
def pipe(request: pytest.FixtureRequest) -> Iterator[PipeEnds]:
    """The reading end and the writing end."""
    reader, writer = Pipe(duplex=request.param)
    yield reader, writer
    reader.close()
    writer.close()


@pytest.fixture
def duplex_pipe() -> Iterator[PipeEnds]:
    ours, theirs = Pipe(duplex=True)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """For coroutine tests: all tasks that a test has started must have ended at its end."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left


@pytest.fixture
def complaints() -> Iterator[list[logging.LogRecord]]:
    """The errors that asyncio or the toolkit logs."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield records
    logging.getLogger().removeHandler(handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_BEFORE] = _threads_and_descriptors()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    result = yield
    left = _threads_and_descriptors() - item.stash[_BEFORE]
    assert not left, f"left behind: {left}"
    return result


def _threads_and_descriptors() -> frozenset[object]:
    descriptors = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:  # the one that listed the folder
            continue
        if target.startswith(("pipe:", "socket:", "anon_inode:")):
            descriptors.add((descriptor, target))
    return frozenset(threading.enumerate()) | frozenset(descriptors)


_BEFORE = pytest.StashKey[frozenset[object]]()
