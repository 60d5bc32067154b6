"""A session's messages on their way to marimo: on the loop, in order, without a thread for each
session."""

from __future__ import annotations

import asyncio
import gc
import queue
import threading
import weakref
from typing import Any

import pytest
from waiting import PATIENCE_S

from mpkernel.marimo_backend import seam
from mpkernel.marimo_backend.server.page_stream import PageStream, distribute_on_the_loop


class Taker:
    """marimo's distributor of a queue, and what its consumer was given, by which thread."""

    def __init__(self, messages: queue.Queue[bytes | None]) -> None:
        distribute_on_the_loop()
        module: Any = __import__(
            seam.SERVER_NAMES["NotificationListenerExtension"], fromlist=["QueueDistributor"]
        )
        self.distributor = module.QueueDistributor(queue=messages)
        self.given: queue.Queue[tuple[bytes, threading.Thread]] = queue.Queue()
        self.distributor.add_consumer(self._take)

    def _take(self, message: bytes) -> None:
        self.given.put((message, threading.current_thread()))
        if message == b"refused":
            raise ValueError("on purpose")

    def messages(self) -> list[bytes]:
        return [self.given.get_nowait()[0] for _ in range(self.given.qsize())]


@pytest.fixture
def messages() -> queue.Queue[bytes | None]:
    return queue.Queue()


async def test_what_came_before_and_what_comes_is_taken_in_order_on_the_loop(
    messages: queue.Queue[bytes | None],
) -> None:
    stream = PageStream(messages, asyncio.get_running_loop())
    stream.put(b"1")
    stream.put(b"2")
    assert stream.waiting == 2
    taker = Taker(messages)
    threads = threading.active_count()
    taker.distributor.start()
    stream.put(b"3")
    assert threading.active_count() == threads
    assert stream.waiting == 0
    assert taker.messages() == [b"1", b"2", b"3"]


async def test_what_another_thread_puts_is_taken_on_the_loop(
    messages: queue.Queue[bytes | None],
) -> None:
    stream = PageStream(messages, asyncio.get_running_loop())
    taker = Taker(messages)
    taker.distributor.start()
    await asyncio.to_thread(stream.put, b"from elsewhere")
    message, thread = await asyncio.to_thread(taker.given.get, timeout=60)
    assert (message, thread) == (b"from elsewhere", threading.current_thread())


async def test_a_message_that_is_refused_costs_the_next_nothing(
    messages: queue.Queue[bytes | None], caplog: pytest.LogCaptureFixture
) -> None:
    stream = PageStream(messages, asyncio.get_running_loop())
    taker = Taker(messages)
    taker.distributor.start()
    stream.put(b"refused")
    stream.put(b"next")
    assert taker.messages() == [b"refused", b"next"]
    assert "did not reach its page" in caplog.text


async def test_nothing_is_taken_after_the_end(messages: queue.Queue[bytes | None]) -> None:
    stream = PageStream(messages, asyncio.get_running_loop())
    taker = Taker(messages)
    taker.distributor.start()
    taker.distributor.stop()
    stream.put(b"late")
    assert taker.messages() == []


async def test_nothing_is_kept_of_a_session_that_is_gone() -> None:
    messages: queue.Queue[bytes | None] = queue.Queue()
    stream = PageStream(messages, asyncio.get_running_loop())
    gone = weakref.ref(messages)
    del stream, messages
    gc.collect()
    assert gone() is None


async def test_a_queue_that_is_not_ours_keeps_marimos_own_thread(
    messages: queue.Queue[bytes | None],
) -> None:
    taker = Taker(messages)
    thread = taker.distributor.start()
    messages.put(b"message")
    assert taker.given.get(timeout=60) == (b"message", thread)
    taker.distributor.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
