"""The recycler with forks, threads, and a `__del__` at any line: no two files get the same
block."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
from waiting import PATIENCE_S

from shm import Block, Recycler, Unavailable, read_chunks
from shm.names import own_tag

SHM = Path("/dev/shm")

Interrupting = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def recycler() -> Iterator[Recycler]:
    recycler = Recycler()
    yield recycler
    recycler.close()


def linked(block: Block) -> bool:
    return (SHM / block.name).exists()


def give_back_all(recycler: Recycler, blocks: list[Block]) -> None:
    for block in blocks:
        recycler.give_back(block)


def test_a_fork_never_writes_to_a_block_of_its_parent(
    recycler: Recycler, in_fork: Callable[[Callable[[], object]], str]
) -> None:
    free, used = recycler.take(9000), recycler.take(9000)
    free.write(memoryview(b"free"))
    used.write(memoryview(b"used"))
    recycler.give_back(free)

    def in_child() -> list[object]:
        recycler.give_back(used)
        taken = [recycler.take(9000) for _ in range(3)]
        for block in taken:
            block.write(memoryview(b"child"))
        own = all(block.name.startswith(own_tag().prefix) for block in taken)
        give_back_all(recycler, [*taken, used])
        waiting = recycler.free_blocks
        recycler.close()
        return [own, waiting, any(linked(block) for block in taken)]

    assert in_fork(in_child) == "[True, 3, False]"
    assert b"".join(read_chunks(free.name, 4)) == b"free"
    assert b"".join(read_chunks(used.name, 4)) == b"used"
    assert recycler.take(9000) is free


def test_a_fork_that_closes_leaves_all_blocks_to_its_parent(
    recycler: Recycler, in_fork: Callable[[Callable[[], object]], str]
) -> None:
    free, used = recycler.take(9000), recycler.take(9000)
    recycler.give_back(free)
    assert in_fork(recycler.close) == "None"
    assert linked(free)
    assert linked(used)


def test_a_block_may_come_back_from_a_del_in_the_middle_of_take_or_give_back(
    recycler: Recycler, at_every_line: Interrupting
) -> None:
    class Shows:
        def __init__(self, block: Block) -> None:
            self.block = block
            self.itself = self  # only the garbage collector ends it

        def __del__(self) -> None:
            recycler.give_back(self.block)
            came_back.append(self.block.name)

    came_back: list[str] = []
    shown = [recycler.take(9000) for _ in range(60)]

    def collect() -> None:
        if shown:
            Shows(shown.pop())
            gc.collect(0)

    with at_every_line(collect, "shm/recycler.py", "shm/blocks.py"):
        taken = [recycler.take(9000)]
        while shown:
            taken.append(recycler.take(9000))
            if len(taken) > 3:
                recycler.give_back(taken.pop(0))
    assert len(came_back) == len(set(came_back)) == 60
    in_use = {block.name for block in taken}
    waiting = {recycler.take(9000).name for _ in range(recycler.free_blocks)}
    assert in_use.isdisjoint(waiting)
    assert recycler.free_blocks == 0
    assert recycler.blocks == len(in_use | waiting)


class OwnerlessLock:
    """Like the tracker's lock up to Python 3.11.5: it does not know its owner."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.locked = self._lock.locked

    def __enter__(self) -> None:
        assert self._lock.acquire(timeout=PATIENCE_S)

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _recursion_count(self) -> int:
        return int(self.locked())


@pytest.mark.parametrize("make_lock", [threading.RLock, OwnerlessLock])
def test_a_block_may_be_unlinked_while_this_thread_is_inside_its_resource_tracker(
    at_every_line: Interrupting,
    monkeypatch: pytest.MonkeyPatch,
    make_lock: Callable[[], AbstractContextManager[object]],
) -> None:
    monkeypatch.setattr(resource_tracker._resource_tracker, "_lock", make_lock())  # type: ignore[attr-defined]
    recycler = Recycler(max_bytes=0)
    shown = [recycler.take(9000) for _ in range(40)]
    blocks = list(shown)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with at_every_line(
            lambda: shown and recycler.give_back(shown.pop()), "multiprocessing/resource_tracker.py"
        ):
            while shown:
                recycler.take(9000)
    recycler.close()
    assert not any(linked(block) for block in blocks)
    assert [str(warning.message) for warning in warned] == []


def test_threads_that_take_and_give_back_never_share_a_block(recycler: Recycler) -> None:
    threads = 6
    begin = threading.Barrier(threads)

    def use(number: int) -> None:
        begin.wait(PATIENCE_S)
        for turn in range(80):
            mine = f"{number} {turn}".encode()
            block = recycler.take((turn % 3) * 8000)
            block.write(memoryview(mine))
            assert b"".join(read_chunks(block.name, len(mine))) == mine
            recycler.give_back(block)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(use, range(threads)))
    finally:
        sys.setswitchinterval(interval)
    assert recycler.blocks == recycler.free_blocks <= 3 * threads
    recycler.close()
    assert [name for name in os.listdir(SHM) if name.startswith(own_tag().prefix)] == []


def test_a_recycler_may_be_closed_in_the_middle_of_take(at_every_line: Interrupting) -> None:
    for line in range(1, 40):
        recycler = Recycler()
        recycler.give_back(recycler.take(9000))
        lines = iter(range(1, 1000))
        try:
            with at_every_line(
                lambda lines=lines, line=line, recycler=recycler: (
                    next(lines) == line and recycler.close()
                ),
                "shm/recycler.py",
            ):
                block = recycler.take(9000)
                block.write(memoryview(b"bytes"))
                recycler.give_back(block)
        except Unavailable:
            pass
        recycler.close()
        assert recycler.blocks == recycler.free_blocks == 0
    assert [name for name in os.listdir(SHM) if name.startswith(own_tag().prefix)] == []
