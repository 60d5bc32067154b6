"""The recycler: which block is used for which file, what waits for how long, and which files may
share a block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st

from shm import Block, NoSpace, Recycler, Unavailable, read_chunks
from shm.blocks import unlink_stray
from shm.recycler import size_class

SHM = Path("/dev/shm")
PAGE = 4096
MIB = 1024 * 1024


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recycler(clock: Clock) -> Iterator[Recycler]:
    recycler = Recycler(max_bytes=MIB, max_age_s=30, clock=clock)
    yield recycler
    recycler.close()


def linked(block: Block) -> bool:
    return (SHM / block.name).exists()


def give_back_all(recycler: Recycler, blocks: list[Block]) -> None:
    for block in blocks:
        recycler.give_back(block)


@given(size=st.integers(min_value=0, max_value=1 << 42))
def test_a_size_class_fits_in_whole_pages_and_wastes_a_fifth_at_most(size: int) -> None:
    capacity = size_class(size)
    assert capacity >= max(size, 1)
    assert capacity % PAGE == 0
    assert capacity - size <= max(PAGE, capacity // 5)
    assert size_class(capacity) == capacity


@given(size=st.integers(1, 1 << 42), more=st.integers(0, 1 << 42))
def test_a_larger_file_has_no_smaller_class(size: int, more: int) -> None:
    assert size_class(size) <= size_class(size + more)


def test_a_doubling_has_four_classes() -> None:
    assert len({size_class(size) for size in range(MIB + 1, 2 * MIB + 1, PAGE)}) == 4


def test_a_file_of_the_same_class_gets_the_same_block_again(recycler: Recycler) -> None:
    block = recycler.take(9000)
    recycler.give_back(block)
    assert recycler.take(10_000) is block
    assert recycler.blocks == 1


def test_a_file_of_another_class_gets_another_block(recycler: Recycler) -> None:
    block = recycler.take(9000)
    recycler.give_back(block)
    assert recycler.take(90_000).name != block.name
    assert recycler.free_blocks == 1


def test_a_block_in_use_is_never_given_out(recycler: Recycler) -> None:
    assert len({recycler.take(9000).name for _ in range(20)}) == 20


def test_a_block_is_mapped_when_it_is_used_again(recycler: Recycler) -> None:
    block = recycler.take(9000)
    assert not block.mapped
    recycler.give_back(block)
    assert recycler.take(9000).mapped


def test_no_more_blocks_are_mapped_than_allowed() -> None:
    recycler = Recycler(max_mapped=2)
    give_back_all(recycler, [recycler.take(9000) for _ in range(5)])
    assert sum(recycler.take(9000).mapped for _ in range(5)) == 2
    recycler.close()


def test_the_oldest_go_when_too_many_bytes_wait(recycler: Recycler, clock: Clock) -> None:
    blocks = [recycler.take(256 * 1024) for _ in range(6)]
    for block in blocks:
        clock.now_s += 1
        recycler.give_back(block)
    assert recycler.free_bytes == MIB
    assert [linked(block) for block in blocks] == [False] * 2 + [True] * 4
    assert recycler.blocks == recycler.free_blocks == 4


def test_a_block_over_the_bound_never_waits_and_drives_no_other_out(recycler: Recycler) -> None:
    large, small = recycler.take(2 * MIB), recycler.take(9000)
    give_back_all(recycler, [small, large])
    assert not linked(large)
    assert linked(small)


def test_nothing_waits_when_nothing_may() -> None:
    recycler = Recycler(max_bytes=0)
    block = recycler.take(9000)
    recycler.give_back(block)
    assert not linked(block)
    assert recycler.blocks == 0


def test_a_block_that_waited_too_long_goes(recycler: Recycler, clock: Clock) -> None:
    early, late = recycler.take(9000), recycler.take(90_000)
    assert recycler.expire() is None
    recycler.give_back(early)
    clock.now_s += 10
    recycler.give_back(late)
    assert recycler.expire() == pytest.approx(20)
    clock.now_s += 20
    assert recycler.expire() == pytest.approx(10)
    assert not linked(early)
    assert linked(late)
    clock.now_s += 10
    assert recycler.expire() is None
    assert recycler.blocks == 0


def test_taking_a_block_lets_those_go_that_waited_too_long(
    recycler: Recycler, clock: Clock
) -> None:
    block = recycler.take(9000)
    recycler.give_back(block)
    clock.now_s += 31
    assert recycler.take(9000).name != block.name
    assert not linked(block)


def test_giving_a_block_back_twice_does_no_harm(recycler: Recycler) -> None:
    block = recycler.take(9000)
    recycler.give_back(block)
    recycler.give_back(block)
    assert recycler.free_blocks == 1
    assert recycler.take(9000) is not recycler.take(9000)


def test_a_block_of_somebody_else_is_left_alone(recycler: Recycler) -> None:
    block = Block.create(PAGE)
    recycler.give_back(block)
    assert recycler.free_blocks == 0
    assert linked(block)
    block.unlink()


def test_a_free_block_that_somebody_removed_is_not_given_out(recycler: Recycler) -> None:
    block = recycler.take(9000)
    recycler.give_back(block)
    unlink_stray(block.name)
    again = recycler.take(9000)
    again.write(memoryview(b"bytes"))
    assert b"".join(read_chunks(again.name, 5)) == b"bytes"


def test_closing_unlinks_all_blocks_those_in_use_too(recycler: Recycler) -> None:
    free, used = recycler.take(9000), recycler.take(9000)
    recycler.give_back(free)
    recycler.close()
    recycler.close()
    assert not linked(free)
    assert not linked(used)
    assert recycler.blocks == recycler.free_blocks == 0
    recycler.give_back(used)
    assert recycler.blocks == recycler.free_blocks == 0
    with pytest.raises(Unavailable, match="closed"):
        recycler.take(1)


def test_more_than_there_is_is_no_space(recycler: Recycler) -> None:
    block = recycler.take(9000)
    recycler.give_back(block)
    with pytest.raises(NoSpace) as caught:
        recycler.take(1 << 50)
    assert caught.value.asked_bytes >= 1 << 50
    assert recycler.blocks == 0
