"""Blocks of several processes: ordinary readers, resource trackers, and makers that are killed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shm import Block, read_chunks

SHM = Path("/dev/shm")

MAKER = """
    import sys
    from shm import Block
    blocks = [Block.create(65536) for _ in range(3)]
    for block in blocks:
        block.write(memoryview(b"x" * 65536))
    blocks[1].map()
    print(*(block.name for block in blocks), flush=True)
    sys.stdin.readline()
    for block in blocks:
        block.unlink()
"""
READER = """
    import sys
    from shm import AttachedBlock
    for name in sys.argv[1:]:
        with AttachedBlock(name, 65536) as block, block.view() as view:
            assert block.read() == bytes(view) == b"x" * 65536
"""
ORDINARY_READER = """
    import sys
    from multiprocessing import resource_tracker
    from multiprocessing.shared_memory import SharedMemory
    memory = SharedMemory(name=sys.argv[1])
    # Before 3.13 it cannot be told that the block is not its own.
    resource_tracker.unregister(memory._name, "shared_memory")
    print(bytes(memory.buf[:5]))
    memory.close()
"""
FORGETFUL = """
    from shm import Block
    block = Block.create(65536)
    print(block.name, flush=True)
"""


@pytest.fixture
def block() -> Iterator[Block]:
    block = Block.create(4096)
    yield block
    block.unlink()


def present(names: list[str]) -> list[str]:
    return [name for name in names if (SHM / name).exists()]


def first_names(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_an_ordinary_shared_memory_of_another_process_sees_the_bytes(
    block: Block, run: Callable[..., subprocess.CompletedProcess[str]], interpreter: str
) -> None:
    block.write(memoryview(b"bytes"))
    reader = run(ORDINARY_READER, block.name, python=interpreter)
    assert (reader.stdout.strip(), reader.stderr) == ("b'bytes'", "")
    assert b"".join(read_chunks(block.name, 5)) == b"bytes"


def test_making_reading_and_unlinking_leaves_neither_a_block_nor_a_warning(
    start: Callable[..., subprocess.Popen[str]],
    run: Callable[..., subprocess.CompletedProcess[str]],
    ended: Callable[[subprocess.Popen[str]], subprocess.CompletedProcess[str]],
    interpreter: str,
) -> None:
    maker = start(MAKER, python=interpreter)
    names = first_names(maker)
    assert present(names) == names

    reader = run(READER, *names, python=interpreter)
    assert (reader.returncode, reader.stderr) == (0, "")
    assert present(names) == names, "a reader's end removed what was not its own"

    maker.stdin.write("\n")  # type: ignore[union-attr]
    end = ended(maker)
    assert (end.returncode, end.stderr) == (0, "")
    assert present(names) == []


def test_the_tracker_of_a_killed_maker_removes_its_blocks(
    start: Callable[..., subprocess.Popen[str]],
    ended: Callable[[subprocess.Popen[str]], subprocess.CompletedProcess[str]],
    interpreter: str,
) -> None:
    maker = start(MAKER, python=interpreter)
    names = first_names(maker)
    assert present(names) == names
    maker.kill()
    ended(maker)
    assert present(names) == []


def test_the_tracker_of_a_maker_that_forgot_its_block_removes_it(
    start: Callable[..., subprocess.Popen[str]],
    ended: Callable[[subprocess.Popen[str]], subprocess.CompletedProcess[str]],
    interpreter: str,
) -> None:
    maker = start(FORGETFUL, python=interpreter)
    names = first_names(maker)
    assert "leaked" in ended(maker).stderr
    assert len(names) == 1
    assert present(names) == []


def test_a_killed_reader_leaves_the_block_to_its_maker(
    block: Block,
    start: Callable[..., subprocess.Popen[str]],
    ended: Callable[[subprocess.Popen[str]], subprocess.CompletedProcess[str]],
    interpreter: str,
) -> None:
    block.write(memoryview(b"bytes"))
    reader = start(
        """
        import sys
        from shm import AttachedBlock
        attached = AttachedBlock(sys.argv[1], 5)
        print("reading", flush=True)
        sys.stdin.read()
        """,
        block.name,
        python=interpreter,
    )
    assert first_names(reader) == ["reading"]
    reader.kill()
    assert ended(reader).stderr == ""
    assert b"".join(read_chunks(block.name, 5)) == b"bytes"
