"""The registry with threads, forks, and a `__del__` at any line: each file ends exactly once."""

from __future__ import annotations

import itertools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Final

import pytest
from waiting import PATIENCE_S

from shm import KeyTaken, Owner, QuotaExceeded, Reader, Registry
from shm.sources import BytesSource

OWNER = Owner("host", "session")


class Bytes:
    """A source that notices when it is freed twice, or while somebody reads it."""

    kind: Final = "memory"
    location: Final = ""

    def __init__(self) -> None:
        self.readers = 0
        self.released_times = 0
        self.freed_times = 0
        self.freed_while_read = False

    def open(self, size: int) -> Reader:
        return BytesSource(memoryview(bytes(size))).open(size)

    def released(self) -> None:
        self.released_times += 1

    def free(self) -> None:
        self.freed_while_read = self.freed_while_read or self.readers > 0
        self.freed_times += 1


@pytest.fixture
def often_switching() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("often_switching")
def test_threads_end_each_file_once_and_never_under_a_reader() -> None:
    threads = 6
    registry = Registry()
    sources: list[Bytes] = []
    counting = threading.Lock()
    begin = threading.Barrier(threads)

    def use(seed: int) -> None:
        chance = random.Random(seed)
        begin.wait(PATIENCE_S)
        for _ in range(400):
            key = str(chance.randrange(5))
            match chance.randrange(5):
                case 0 | 1:
                    store(key, Owner(seed % 2, seed))
                case 2:
                    registry.release(key)
                case 3:
                    registry.dereference(key)
                case _:
                    read(key)
        registry.release_session(Owner(seed % 2, seed))

    def store(key: str, owner: Owner) -> None:
        source = Bytes()
        try:
            registry.register(key, source, 10, owner=owner)
        except KeyTaken:
            return
        sources.append(source)

    def read(key: str) -> None:
        try:
            with registry.lease(key) as entry:
                source = entry.source
                assert isinstance(source, Bytes)
                with counting:
                    source.readers += 1
                assert not source.freed_times
                with counting:
                    source.readers -= 1
        except KeyError:
            return

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(use, range(threads)))
    registry.release_all()
    assert {(source.released_times, source.freed_times) for source in sources} == {(1, 1)}
    assert not any(source.freed_while_read for source in sources)
    assert registry.snapshot() == ([], 0)


@pytest.mark.usefixtures("often_switching")
def test_threads_never_get_over_a_quota_together() -> None:
    threads = 6
    registry = Registry(quota_bytes=1000)
    begin = threading.Barrier(threads)

    def fill(thread: int) -> int:
        begin.wait(PATIENCE_S)
        for number in itertools.count():
            try:
                registry.register(f"{thread}-{number}", Bytes(), 7, owner=OWNER)
            except QuotaExceeded:
                return number
        raise AssertionError

    with ThreadPoolExecutor(threads) as pool:
        stored = sum(pool.map(fill, range(threads)))
    assert stored == len(registry) == 1000 // 7
    assert registry.total_bytes == stored * 7


def test_any_call_may_come_in_the_middle_of_any_other(
    at_every_line: Callable[..., AbstractContextManager[None]],
) -> None:
    registry = Registry()
    sources = {str(number): Bytes() for number in range(3)}
    others: list[Bytes] = []
    busy = False

    def call_everything() -> None:
        nonlocal busy
        if busy:
            return
        busy = True
        key = f"other {len(others)}"
        others.append(Bytes())
        registry.register(key, others[-1], 10, owner=OWNER)
        registry.reference(key)
        registry.dereference(key)
        with registry.lease(key):
            registry.dereference(key)
        assert key not in registry
        registry.dereference("0")  # as the end of an object that shows it does
        registry.snapshot()
        busy = False

    with at_every_line(call_everything, "shm/registry.py"):
        for key, source in sources.items():
            registry.register(key, source, 10, owner=OWNER)
        registry.reference("1")
        registry.dereference("1")
        with registry.lease("1"):
            registry.release("1")
            registry.release("1")
        registry.release_session(OWNER)
        registry.release_host(OWNER.host)
    assert len(others) > 30
    for source in [*sources.values(), *others]:
        assert (source.released_times, source.freed_times) == (1, 1)
    assert registry.snapshot() == ([], 0)


def test_a_source_that_comes_back_in_while_it_is_freed_finds_its_file_gone() -> None:
    registry = Registry()
    seen: list[bool] = []

    class ComesBack(Bytes):
        def free(self) -> None:
            seen.append("key" in registry)
            registry.release("key")
            registry.dereference("key")
            super().free()

    source = ComesBack()
    registry.register("key", source, 10, owner=OWNER)
    registry.release("key")
    assert seen == [False]
    assert source.freed_times == 1


def test_a_fork_can_use_it_whatever_thread_was_inside(
    in_fork: Callable[[Callable[[], object]], str],
) -> None:
    registry = Registry()
    registry.register("parent's", Bytes(), 10, owner=Owner("host"))
    inside, go_on = threading.Event(), threading.Event()

    class SlowToHash:
        def __hash__(self) -> int:
            inside.set()
            go_on.wait(PATIENCE_S)
            return 0

    slow = Owner(SlowToHash())  # type: ignore[arg-type]
    thread = threading.Thread(
        target=registry.register, args=("slow's", Bytes(), 10), kwargs={"owner": slow}
    )
    thread.start()
    assert inside.wait(PATIENCE_S)

    def in_child() -> list[str]:
        registry.register("child's", Bytes(), 10, owner=OWNER)
        with registry.lease("child's"):
            registry.release("child's")
        return [file.key for file in registry.snapshot().files]

    try:
        assert in_fork(in_child) == repr(["parent's"])
    finally:
        go_on.set()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert "parent's" in registry
