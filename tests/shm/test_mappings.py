"""Mappings that a reader keeps while their blocks are used for other files."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock

from shm import Block, BlockNotFound
from shm.mappings import Mappings


@pytest.fixture
def block() -> Iterator[Block]:
    block = Block.create(100_000)
    block.write(memoryview(b"first " * 16_000))
    yield block
    block.unlink()


def mapped(block: Block) -> bool:
    gc.collect()
    return block.name in Path("/proc/self/maps").read_text()


def read(mappings: Mappings, block: Block, size: int = 96_000) -> bytes:
    with mappings.open(block.name, size) as opened:
        return b"".join(opened.chunks(chunk_bytes=1000))


def test_a_block_is_mapped_with_its_second_file_and_shows_what_is_in_it_then(block: Block) -> None:
    mappings = Mappings()
    mappings.note(block.name)
    assert read(mappings, block) == b"first " * 16_000
    assert not mapped(block)
    mappings.note(block.name)
    block.write(memoryview(b"second" * 16_000))
    assert read(mappings, block) == b"second" * 16_000
    assert mapped(block)
    assert mappings.mapped_bytes == 100_000


def test_a_block_that_was_not_used_for_long_is_let_go(block: Block) -> None:
    clock = Clock()
    mappings = Mappings(max_age_s=30, clock=clock)
    for _ in range(2):
        mappings.note(block.name)
    read(mappings, block)
    clock.now_s += 20
    assert mappings.expire() == 10
    assert mapped(block)
    clock.now_s += 11
    assert mappings.expire() is None
    assert not mapped(block)
    assert read(mappings, block) == b"first " * 16_000


def test_who_reads_while_a_mapping_is_let_go_reads_on(block: Block) -> None:
    mappings = Mappings()
    for _ in range(2):
        mappings.note(block.name)
    with mappings.open(block.name, 96_000) as opened:
        chunks = opened.chunks(chunk_bytes=6)
        assert next(chunks) == b"first "
        mappings.clear()
        assert b"".join(chunks) == b"first " * 15_999
    assert not mapped(block)


@pytest.mark.parametrize("bounds", [{"max_bytes": 150_000}, {"max_mapped": 1}], ids=str)
def test_no_more_is_mapped_than_may_be(block: Block, bounds: dict[str, int]) -> None:
    mappings = Mappings(**bounds)
    other = Block.create(100_000)
    try:
        other.write(memoryview(b"other " * 16_000))
        for _ in range(2):
            mappings.note(block.name)
            mappings.note(other.name)
        assert read(mappings, block) == b"first " * 16_000
        assert read(mappings, other) == b"other " * 16_000
        assert mapped(block)
        assert not mapped(other)
    finally:
        other.unlink()


def test_a_mapped_block_that_is_cut_short_is_an_error_and_no_signal(block: Block) -> None:
    mappings = Mappings()
    for _ in range(2):
        mappings.note(block.name)
    with mappings.open(block.name, 96_000) as opened:
        chunks = opened.chunks(chunk_bytes=6)
        assert next(chunks) == b"first "
        os.truncate(f"/dev/shm/{block.name}", 4)
        with pytest.raises(BlockNotFound, match="cut short"):
            next(chunks)


def test_a_block_that_is_gone_is_not_found(block: Block) -> None:
    mappings = Mappings()
    for _ in range(2):
        mappings.note(block.name)
    block.unlink()
    with pytest.raises(BlockNotFound):
        read(mappings, block)
