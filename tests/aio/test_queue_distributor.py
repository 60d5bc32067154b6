"""`QueueDistributor`: items of a queue reach every consumer, on a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator

import pytest
from waiting import PATIENCE_S

from mpkernel.aio import QueueDistributor


class Received:
    """A consumer that can be waited for."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self._news = threading.Condition()

    def __call__(self, item: str) -> None:
        with self._news:
            self.items.append(item)
            self._news.notify_all()

    def count(self, count: int) -> list[str]:
        with self._news:
            assert self._news.wait_for(lambda: len(self.items) >= count, PATIENCE_S)
        return self.items


@pytest.fixture
def source() -> queue.Queue[str | None]:
    return queue.Queue()


@pytest.fixture
def distributor(source: queue.Queue[str | None]) -> Iterator[QueueDistributor[str]]:
    distributor = QueueDistributor(source, name="drain")
    yield distributor
    distributor.stop(PATIENCE_S)


def test_every_consumer_gets_every_item_in_order(
    source: queue.Queue[str | None], distributor: QueueDistributor[str]
) -> None:
    one, two = Received(), Received()
    distributor.add_consumer(one)
    distributor.add_consumer(two)
    distributor.start()
    expected = [str(number) for number in range(200)]
    for item in expected:
        source.put(item)
    assert one.count(200) == expected
    assert two.count(200) == expected


def test_items_are_handed_out_on_a_thread_that_carries_the_name(
    source: queue.Queue[str | None], distributor: QueueDistributor[str]
) -> None:
    names: list[str] = []
    received = Received()
    distributor.add_consumer(lambda _: names.append(threading.current_thread().name))
    distributor.add_consumer(received)
    distributor.start()
    source.put("item")
    received.count(1)
    assert names == ["drain"]


def test_none_ends_it(source: queue.Queue[str | None], distributor: QueueDistributor[str]) -> None:
    received = Received()
    distributor.add_consumer(received)
    distributor.start()
    thread = distributor._thread
    assert thread is not None
    for item in ("before", None, "after"):
        source.put(item)
    thread.join(PATIENCE_S)
    assert not distributor.running
    assert received.items == ["before"]
    distributor.stop()
    assert source.get_nowait() == "after"
    assert source.empty()


def test_a_failing_consumer_is_logged_by_name_and_harms_no_other(
    source: queue.Queue[str | None],
    distributor: QueueDistributor[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def breaks(_: str) -> None:
        raise LookupError("broken")

    received = Received()
    distributor.add_consumer(breaks)
    distributor.add_consumer(received)
    distributor.start()
    source.put("one")
    source.put("two")
    assert received.count(2) == ["one", "two"]
    messages = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(messages) == 2
    assert all("breaks distributor=drain" in message for message in messages)


def test_a_consumer_may_add_and_remove_consumers_without_a_deadlock(
    source: queue.Queue[str | None], distributor: QueueDistributor[str]
) -> None:
    late, removed, last = Received(), Received(), Received()

    def rearrange(_: str) -> None:
        distributor.add_consumer(late)
        remove_rearrange()
        remove_removed()

    remove_rearrange = distributor.add_consumer(rearrange)
    remove_removed = distributor.add_consumer(removed)
    distributor.add_consumer(last)
    distributor.start()
    source.put("one")
    source.put("two")
    assert last.count(2) == ["one", "two"]
    assert late.count(1) == ["two"]
    assert removed.items == []


def test_another_thread_may_remove_a_consumer_while_one_is_being_called(
    source: queue.Queue[str | None], distributor: QueueDistributor[str]
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        entered.set()
        go_on.wait(PATIENCE_S)

    removed = Received()
    distributor.add_consumer(hold)
    remove = distributor.add_consumer(removed)
    distributor.start()
    source.put("one")
    assert entered.wait(PATIENCE_S)
    remove()
    go_on.set()
    distributor.stop(PATIENCE_S)
    assert removed.items == []


@pytest.mark.parametrize("room", [0, 3], ids=["unbounded", "full"])
def test_stop_hands_out_what_is_queued_and_joins_the_thread(room: int) -> None:
    source: queue.Queue[str | None] = queue.Queue(room)
    distributor = QueueDistributor(source)
    entered, go_on = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        entered.set()
        go_on.wait(PATIENCE_S)

    received = Received()
    distributor.add_consumer(hold)
    distributor.add_consumer(received)
    distributor.start()
    source.put("0")
    assert entered.wait(PATIENCE_S)
    for item in ("1", "2", "3"):
        source.put(item)
    stopper = threading.Thread(target=distributor.stop)
    stopper.start()
    assert distributor._stopping.wait(PATIENCE_S)
    assert stopper.is_alive()
    go_on.set()
    stopper.join(PATIENCE_S)
    assert not distributor.running
    assert received.items == ["0", "1", "2", "3"]


@pytest.mark.parametrize("room", [0, 1], ids=["unbounded", "full"])
def test_a_consumer_may_stop_it(room: int) -> None:
    source: queue.Queue[str | None] = queue.Queue(room)
    distributor = QueueDistributor(source)
    queued = threading.Event()
    received: list[str] = []

    def stop(item: str) -> None:
        queued.wait(PATIENCE_S)
        distributor.stop()
        received.append(item)

    distributor.add_consumer(stop)
    distributor.start()
    thread = distributor._thread
    assert thread is not None
    source.put("one")
    source.put("two")
    queued.set()
    thread.join(PATIENCE_S)
    assert not distributor.running
    assert received == ["one", "two"]


def test_a_consumer_that_does_not_return_makes_stop_give_up_in_time(
    source: queue.Queue[str | None], distributor: QueueDistributor[str]
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        entered.set()
        go_on.wait(PATIENCE_S)

    distributor.add_consumer(hold)
    distributor.start()
    source.put("one")
    assert entered.wait(PATIENCE_S)
    with pytest.raises(TimeoutError, match=r"'drain' still runs 0\.01 s after"):
        distributor.stop(0.01)
    go_on.set()


def test_stopping_what_does_not_run_does_nothing(
    source: queue.Queue[str | None], distributor: QueueDistributor[str]
) -> None:
    distributor.stop()
    assert source.empty()
    distributor.start()
    distributor.stop()
    distributor.stop()
    assert source.empty()


def test_it_starts_once(distributor: QueueDistributor[str]) -> None:
    distributor.start()
    with pytest.raises(RuntimeError, match="'drain' starts once"):
        distributor.start()


def test_many_threads_may_add_and_remove_while_items_pass(
    source: queue.Queue[str | None], distributor: QueueDistributor[str]
) -> None:
    steady = Received()
    distributor.add_consumer(steady)
    distributor.start()

    def come_and_go() -> None:
        for _ in range(200):
            remove: Callable[[], None] = distributor.add_consumer(lambda _: None)
            source.put("item")
            remove()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    steady.count(800)
    distributor.stop(PATIENCE_S)
    assert len(steady.items) == 800
    assert len(distributor._consumers._entries) == 1
