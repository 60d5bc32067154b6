"""Blocks: what is written can be read, who may read it, and what happens when a block is removed or
cut short."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shm import AttachedBlock, Block, BlockNotFound, ShmError, read_chunks
from shm.blocks import unlink_stray
from shm.names import own_tag

SHM = Path("/dev/shm")
KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def block() -> Iterator[Block]:
    block = Block.create(12 * KIB)
    yield block
    block.unlink()


@pytest.fixture(params=["mapped", "not mapped"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[int], Block]]:
    made: list[Block] = []

    def create(capacity: int) -> Block:
        made.append(Block.create(capacity))
        if request.param == "mapped":
            made[-1].map()
        return made[-1]

    yield create
    for block in made:
        block.unlink()


def open_descriptors() -> int:
    gc.collect()  # what earlier tests have left may go at any time
    return len(os.listdir("/proc/self/fd"))


def test_a_block_is_named_after_its_maker_within_what_macos_allows(block: Block) -> None:
    assert block.name.startswith(own_tag().prefix)
    assert len(block.name) <= 30


def test_only_its_user_can_open_a_block(block: Block) -> None:
    assert stat.S_IMODE((SHM / block.name).stat().st_mode) == 0o600


def test_the_space_of_a_block_is_reserved_before_anything_is_written(block: Block) -> None:
    status = (SHM / block.name).stat()
    assert status.st_size == block.capacity
    assert status.st_blocks * 512 >= block.capacity


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_block_of_nothing_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=str(capacity)):
        Block.create(capacity)


def test_what_is_written_is_read_whole(make: Callable[[int], Block]) -> None:
    data = os.urandom(10_000)
    block = make(12 * KIB)
    block.write(memoryview(data))
    with AttachedBlock(block.name, len(data)) as attached:
        assert attached.read() == data


def test_a_block_is_written_again_and_again(make: Callable[[int], Block]) -> None:
    block = make(12 * KIB)
    for size in (12 * KIB, 1, 5000):
        data = os.urandom(size)
        block.write(memoryview(data))
        assert b"".join(read_chunks(block.name, size)) == data


def test_more_than_one_copy_s_worth_is_written_whole(make: Callable[[int], Block]) -> None:
    data = os.urandom(9 * MIB + 1)
    block = make(len(data))
    block.write(memoryview(data))
    assert b"".join(read_chunks(block.name, len(data))) == data


def test_nothing_can_be_written(make: Callable[[int], Block]) -> None:
    block = make(4 * KIB)
    block.write(memoryview(b""))
    assert b"".join(read_chunks(block.name, 0)) == b""


def test_what_does_not_fit_is_refused_and_changes_nothing(make: Callable[[int], Block]) -> None:
    block = make(4 * KIB)
    block.write(memoryview(b"before"))
    with pytest.raises(ValueError, match="4097 bytes do not fit into a block of 4096"):
        block.write(memoryview(bytes(4 * KIB + 1)))
    assert b"".join(read_chunks(block.name, 6)) == b"before"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 4, b"0123"),
        (3, 6, b"345"),
        (8, None, b"89"),
        (0, 10_000, b"0123456789"),
        (10, None, b""),
        (50, None, b""),
        (6, 3, b""),
    ],
)
def test_a_range_never_reaches_past_the_file(
    block: Block, start: int, end: int | None, expected: bytes
) -> None:
    block.write(memoryview(b"0123456789 of another file"))
    with AttachedBlock(block.name, 10) as attached:
        assert attached.read(start, end) == expected
    assert b"".join(read_chunks(block.name, 10, start, end)) == expected


def test_chunks_have_the_size_that_was_asked_for_and_the_last_one_the_rest(block: Block) -> None:
    block.write(memoryview(b"0123456789"))
    chunks = list(read_chunks(block.name, 10, 1, chunk_bytes=4))
    assert chunks == [b"1234", b"5678", b"9"]


def test_a_view_shows_the_file_and_cannot_be_written_to(block: Block) -> None:
    block.write(memoryview(b"0123456789"))
    with AttachedBlock(block.name, 7) as attached, attached.view() as view:
        assert bytes(view) == b"0123456"
        assert view.readonly


def test_a_view_of_an_empty_file_shows_nothing_of_its_block(block: Block) -> None:
    block.write(memoryview(b"of another file"))
    with AttachedBlock(block.name, 0) as attached, attached.view() as view:
        assert bytes(view) == b""


def test_a_block_that_is_not_mapped_holds_no_descriptor_once_it_is_written() -> None:
    first = Block.create(4 * KIB)  # with it the resource tracker's, too
    before = open_descriptors()
    blocks = [Block.create(4 * KIB) for _ in range(10)]
    for block in blocks:
        block.write(memoryview(b"bytes"))
    assert open_descriptors() == before
    for block in [first, *blocks]:
        block.unlink()


def test_mapping_and_unmapping_leave_no_descriptor(block: Block) -> None:
    block.write(memoryview(b"bytes"))
    before = open_descriptors()
    block.map()
    block.map()
    assert block.mapped
    assert open_descriptors() == before + 1
    block.unmap()
    block.unmap()
    assert not block.mapped
    assert open_descriptors() == before


def test_readers_leave_no_descriptor(block: Block) -> None:
    block.write(memoryview(b"0123456789"))
    before = open_descriptors()
    attached = AttachedBlock(block.name, 10)
    attached.close()
    attached.close()
    chunks = read_chunks(block.name, 10, chunk_bytes=1)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    with pytest.raises(BlockNotFound):
        AttachedBlock(block.name, 13 * KIB)
    assert open_descriptors() == before


def test_an_unlinked_block_stays_readable_for_who_has_it_open(block: Block) -> None:
    data = os.urandom(12 * KIB)
    block.write(memoryview(data))
    with AttachedBlock(block.name, len(data)) as attached, attached.view() as view:
        block.unlink()
        assert not (SHM / block.name).exists()
        assert attached.read() == data
        assert bytes(view) == data


def test_unlinking_twice_does_not_touch_a_block_that_has_the_name_now(block: Block) -> None:
    block.unlink()
    (SHM / block.name).write_bytes(b"another's")
    block.unlink()
    assert (SHM / block.name).read_bytes() == b"another's"
    unlink_stray(block.name)
    unlink_stray(block.name)
    assert not (SHM / block.name).exists()


def test_a_fork_that_unlinks_leaves_the_block_to_its_maker(
    block: Block, in_fork: Callable[[Callable[[], object]], str]
) -> None:
    block.write(memoryview(b"the parent's"))
    block.map()
    assert in_fork(block.unlink) == "None"
    assert b"".join(read_chunks(block.name, 12)) == b"the parent's"
    block.write(memoryview(b"still usable"))
    assert b"".join(read_chunks(block.name, 12)) == b"still usable"


@pytest.mark.parametrize(
    "name",
    ["mpk-no-such-block-0", "", ".", "..", "../shm", "a/b", "nul\0byte", "x" * 10_000],
    ids=["unknown", "empty", "dot", "dots", "path", "slash", "nul", "long"],
)
def test_a_name_without_a_block_is_not_found(name: str) -> None:
    with pytest.raises(BlockNotFound, match="no shared-memory block"):
        AttachedBlock(name, 1)


def test_a_block_that_is_shorter_than_its_file_is_not_found(block: Block) -> None:
    with pytest.raises(BlockNotFound, match="shorter than 12289 bytes"):
        list(read_chunks(block.name, 12 * KIB + 1))


def test_not_found_is_a_key_error_that_reads_like_any_other(block: Block) -> None:
    with pytest.raises(KeyError) as caught:
        AttachedBlock("mpk-no-such-block-0", 1)
    assert isinstance(caught.value, ShmError)
    assert str(caught.value).startswith("no shared-memory block")


@pytest.mark.parametrize("kept", [0, 4 * KIB, 5 * KIB], ids="{} bytes kept".format)
def test_a_block_that_is_cut_short_while_it_is_read_is_an_error(block: Block, kept: int) -> None:
    block.write(memoryview(bytes(12 * KIB)))
    chunks = read_chunks(block.name, 12 * KIB, chunk_bytes=4 * KIB)
    assert len(next(chunks)) == 4 * KIB
    os.truncate(SHM / block.name, kept)
    with pytest.raises(BlockNotFound, match="cut short"):
        list(chunks)


def test_a_block_that_was_cut_short_before_its_view_is_an_error(block: Block) -> None:
    with AttachedBlock(block.name, 12 * KIB) as attached:
        os.truncate(SHM / block.name, 0)
        with pytest.raises(BlockNotFound), attached.view():
            pass


def test_a_block_that_somebody_removed_cannot_be_mapped_or_written(block: Block) -> None:
    block.write(memoryview(b"bytes"))
    unlink_stray(block.name)
    with pytest.raises(ShmError, match=block.name):
        block.map()
    with pytest.raises(ShmError, match=block.name):
        block.write(memoryview(b"bytes"))
