"""A `ConnectionDistributor` and the loop on which it was started."""

from __future__ import annotations

import asyncio
import fcntl
import threading
from typing import Any

import pytest
from aio.listeners import PipeEnds, Stopped
from waiting import PATIENCE_S

from mpkernel.aio import ConnectionDistributor


def text(frame: bytes) -> str:
    return frame.decode()


def is_open(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def test_starting_without_a_loop_is_refused(pipe: PipeEnds) -> None:
    reader, _writer = pipe
    distributor = ConnectionDistributor(reader, text)
    with pytest.raises(RuntimeError, match="no running event loop"):
        distributor.start()
    distributor.stop()
    assert reader.closed


def start_on(loop: asyncio.AbstractEventLoop, distributor: ConnectionDistributor[Any]) -> None:
    async def start() -> None:
        distributor.start()

    if loop.is_running():
        asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE_S)
    else:
        loop.run_until_complete(start())


def test_from_another_thread_stop_is_done_on_the_loop_of_the_start(
    pipe: PipeEnds, loop_on_a_thread: asyncio.AbstractEventLoop
) -> None:
    reader, _writer = pipe
    threads: list[threading.Thread] = []
    stopped = Stopped()
    distributor = ConnectionDistributor(
        reader,
        text,
        on_stop=lambda reason: (threads.append(threading.current_thread()), stopped(reason)),
    )
    start_on(loop_on_a_thread, distributor)

    async def stop_on_another_loop() -> None:
        distributor.stop()

    asyncio.run(stop_on_another_loop())
    stopped.wait_in_thread()
    assert [thread.name for thread in threads] == ["loop-thread"]
    assert reader.closed


@pytest.mark.parametrize("closed", [False, True], ids=["stopped", "closed"])
def test_with_its_loop_stopped_or_closed_stop_still_releases_everything(
    pipe: PipeEnds, loop: asyncio.AbstractEventLoop, closed: bool
) -> None:
    reader, _writer = pipe
    descriptor = reader.fileno()
    distributor = ConnectionDistributor(reader, text)
    start_on(loop, distributor)
    if closed:
        loop.close()
    distributor.stop()
    assert reader.closed
    assert not is_open(descriptor)
