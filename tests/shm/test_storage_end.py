"""How a storage ends: closed, collected, in a fork, or with its process. Nothing is left."""

from __future__ import annotations

import gc
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import get_args

import pytest

from shm import RegisteredStorage, SharedMemoryStorage, StorageKind, Unavailable, create_storage
from shm.names import own_tag

KINDS = get_args(StorageKind)
MIB = 1024 * 1024

Left = Callable[[str], list[str]]


@pytest.fixture(autouse=True)
def nothing_left(left_by: Left, temp: Path) -> Iterator[None]:
    assert tempfile.gettempdir() == str(temp)
    yield
    assert left_by(own_tag().prefix) == []


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest) -> Iterator[RegisteredStorage]:
    storage = create_storage(request.param)
    assert storage is not None
    yield storage
    storage.close()


def fill(storage: RegisteredStorage) -> None:
    for number in range(3):
        storage.store(str(number), bytes(10_000))
    storage.remove("0")


def test_closing_removes_all_and_a_closed_storage_takes_nothing(
    storage: RegisteredStorage, left_by: Left
) -> None:
    fill(storage)
    assert not storage.stale
    storage.close()
    storage.close()
    assert storage.stale
    assert left_by(own_tag().prefix) == []
    assert not storage.has("1")
    assert storage.registry.snapshot() == ([], 0)
    with pytest.raises(KeyError):
        storage.read("1", 10)
    with pytest.raises(Unavailable, match="closed"):
        storage.store("more", b"bytes")


def test_some_files_can_be_shut_down_and_then_all(storage: RegisteredStorage) -> None:
    fill(storage)
    storage.shutdown(key for key in ("1", "unknown"))
    assert [storage.has(key) for key in "012"] == [False, False, True]
    assert not storage.stale
    storage.shutdown()
    assert storage.stale
    assert not storage.has("2")


def test_a_reader_of_a_storage_that_closes_gets_its_bytes_or_an_error(
    storage: RegisteredStorage,
) -> None:
    data = os.urandom(10_000)
    storage.store("key", data)
    chunks = storage.read_chunked("key", len(data), 1000)
    read = next(chunks)
    storage.close()
    assert read + b"".join(chunks) == data


@pytest.mark.parametrize("kind", KINDS)
def test_a_storage_that_is_collected_removes_all(kind: StorageKind, left_by: Left) -> None:
    storage = create_storage(kind)
    assert storage is not None
    fill(storage)
    registry = storage.registry
    del storage
    gc.collect()
    assert left_by(own_tag().prefix) == []
    assert len(registry) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_exits_without_closing_leaves_nothing_and_prints_nothing(
    kind: StorageKind,
    run: Callable[..., subprocess.CompletedProcess[str]],
    interpreter: str,
    temp: Path,
    left_by: Left,
) -> None:
    end = run(
        """
        import sys
        from shm import VirtualFile, create_storage
        from shm.names import own_tag
        storage = create_storage(sys.argv[1])
        files = [VirtualFile.create_and_register(bytes(n), storage=storage) for n in (1, 10_000)]
        del files[0]
        storage.store("key", bytes(5_000_000))
        reading = storage.read_chunked("key", 5_000_000, 1000)
        next(reading)
        print(own_tag().prefix)
        """,
        kind,
        python=interpreter,
        temp=temp,
    )
    assert (end.returncode, end.stderr) == (0, "")
    assert end.stdout.startswith("mpk-")
    assert left_by(end.stdout.strip()) == []


def test_a_process_that_ends_with_an_error_leaves_nothing(
    run: Callable[..., subprocess.CompletedProcess[str]], temp: Path, left_by: Left
) -> None:
    end = run(
        """
        import shm
        from shm.names import own_tag
        storages = [shm.create_storage(kind) for kind in ("shared_memory", "temp_file")]
        for storage in storages:
            storage.store("key", bytes(10_000))
        print(own_tag().prefix, flush=True)
        raise LookupError("broken")
        """,
        temp=temp,
    )
    assert end.stderr.count("Traceback") == end.stderr.count("LookupError: broken") == 1
    assert "leaked" not in end.stderr
    assert left_by(end.stdout.strip()) == []


def test_a_fork_leaves_the_files_of_its_parent(
    storage: RegisteredStorage, in_fork: Callable[[Callable[[], object]], str]
) -> None:
    fill(storage)

    def in_child() -> None:
        storage.remove("1")
        storage.close()

    assert in_fork(in_child) == "None"
    assert storage.read("1", 10_000) == bytes(10_000)
    assert storage.read("2", 10_000) == bytes(10_000)


def test_a_fork_that_closes_removes_its_own_files(
    storage: RegisteredStorage, in_fork: Callable[[Callable[[], object]], str], left_by: Left
) -> None:
    fill(storage)

    def in_child() -> list[object]:
        storage.store("child's", b"bytes")
        read = storage.read("child's", 5)
        storage.close()
        left = left_by(own_tag().prefix)
        for name in left:  # a failure here is not to be one of the tests after it
            Path("/dev/shm", name).unlink(missing_ok=True)
        return [read, left]

    assert in_fork(in_child) == "[b'bytes', []]"
    assert storage.read("1", 10_000) == bytes(10_000)


@pytest.mark.parametrize("used_before", [False, True], ids=["fresh block", "mapped block"])
def test_a_storage_closed_while_a_file_is_stored_says_that_it_is_closed(
    used_before: bool, at_every_line: Callable[..., AbstractContextManager[None]]
) -> None:
    reasons: list[str] = []
    for line in range(1, 80):
        storage = SharedMemoryStorage(fallback=None)
        if used_before:
            storage.store("key", bytes(9 * MIB))
            storage.remove("key")
        lines = iter(range(1, 10_000))
        try:
            with at_every_line(
                lambda lines=lines, line=line, storage=storage: (
                    next(lines) == line and storage.close()
                ),
                "shm/storage.py",
                "shm/blocks.py",
            ):
                storage.store("key", bytes(9 * MIB))
        except Unavailable as error:
            reasons.append(str(error))
        storage.close()
        assert not storage.has("key")
    assert reasons
    assert set(reasons) == {"the storage is closed"}
