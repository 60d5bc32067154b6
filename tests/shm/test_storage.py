"""Storages: they return the bytes that they were given, wherever they keep them, and leave nothing
behind."""

from __future__ import annotations

import array
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from shm import (
    InMemoryStorage,
    KeyTaken,
    Owner,
    QuotaExceeded,
    RegisteredStorage,
    Registry,
    SharedMemoryStorage,
    StorageKind,
    TempFileStorage,
    create_storage,
    new_key,
)
from shm.blocks import unlink_stray

pytestmark = pytest.mark.usefixtures("temp")
KINDS = get_args(StorageKind)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> StorageKind:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def storage(kind: StorageKind) -> Iterator[RegisteredStorage]:
    storage = create_storage(kind)
    assert storage is not None
    yield storage
    storage.close()


def stored(storage: RegisteredStorage, data: bytes) -> str:
    key = new_key()
    storage.store(key, data)
    return key


def kind_of(storage: RegisteredStorage, key: str) -> str:
    with storage.registry.lease(key) as entry:
        return entry.source.kind


def test_the_storage_is_of_the_kind_that_was_asked_for(
    storage: RegisteredStorage, kind: StorageKind
) -> None:
    expected = {"shared_memory": "block", "temp_file": "temp_file", "in_memory": "memory"}
    assert kind_of(storage, stored(storage, b"bytes")) == expected[kind]


def test_no_storage_is_none_and_an_unknown_one_an_error() -> None:
    assert create_storage(None) is None
    with pytest.raises(ValueError, match="'on_paper' is not a kind of storage"):
        create_storage("on_paper")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'on_paper' is not a kind of storage"):
        create_storage("shared_memory", fallback="on_paper")  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [SharedMemoryStorage, TempFileStorage, InMemoryStorage])
def test_a_storage_uses_the_registry_that_it_is_given(
    make: Callable[..., RegisteredStorage],
) -> None:
    registry = Registry(session_quota_bytes=10)
    storage = make(registry=registry)
    storage.store("key", b"01234567", owner=Owner("host", 1), media_type="text/plain")
    assert registry.lookup("key")[:4] == ("key", 8, "text/plain", Owner("host", 1))
    with pytest.raises(QuotaExceeded):
        storage.store("more", b"012", owner=Owner("host", 1))
    assert not storage.has("more")
    storage.close()


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 300_000])
def test_what_is_stored_is_read_whole(storage: RegisteredStorage, size: int) -> None:
    data = os.urandom(size)
    key = stored(storage, data)
    assert storage.has(key)
    assert storage.read(key, size) == data


def test_a_read_never_reaches_past_the_end(storage: RegisteredStorage) -> None:
    key = stored(storage, b"0123456789")
    assert storage.read(key, 1_000_000) == b"0123456789"
    assert storage.read(key, 4) == b"0123"
    assert list(storage.read_chunked(key, 100, 4, start=3)) == [b"3456", b"789"]
    assert list(storage.read_chunked(key, 100, 4, start=10)) == []
    assert list(storage.read_chunked(key, 100, 4, start=1_000)) == []


def test_a_range_is_read_in_chunks(storage: RegisteredStorage) -> None:
    data = os.urandom(1_000_000)
    chunks = list(storage.read_chunked(stored(storage, data), 700_001, 100_000, start=123_456))
    assert [len(chunk) for chunk in chunks] == [100_000] * 7 + [1]
    assert b"".join(chunks) == data[123_456:823_457]


def test_what_is_not_there_is_a_key_error(storage: RegisteredStorage) -> None:
    key = stored(storage, b"bytes")
    storage.remove(key)
    storage.remove(key)
    assert not storage.has(key)
    with pytest.raises(KeyError):
        storage.read(key, 5)
    with pytest.raises(KeyError):
        next(iter(storage.read_chunked(key, 5)))


def test_a_block_is_not_read_by_its_name() -> None:
    storage = SharedMemoryStorage()
    with storage.registry.lease(stored(storage, b"bytes")) as entry:
        location = entry.source.location
    assert Path("/dev/shm", location).exists()
    with pytest.raises(KeyError):
        storage.read(location, 5)
    storage.close()


def test_a_key_is_stored_once(storage: RegisteredStorage) -> None:
    storage.store("key", b"first")
    with pytest.raises(KeyTaken):
        storage.store("key", b"second")
    assert storage.read("key", 5) == b"first"
    assert storage.registry.total_bytes == 5


def test_a_file_removed_while_it_is_read_is_read_to_its_end(storage: RegisteredStorage) -> None:
    old, new = os.urandom(300_000), os.urandom(300_000)
    key = stored(storage, old)
    chunks = storage.read_chunked(key, len(old), 1000)
    read = next(chunks)
    storage.remove(key)
    new_keys = [stored(storage, new) for _ in range(3)]
    assert read + b"".join(chunks) == old
    assert all(storage.read(key, len(new)) == new for key in new_keys)


def test_a_reader_that_stops_early_holds_nothing(storage: RegisteredStorage) -> None:
    key = stored(storage, bytes(10_000))
    chunks = storage.read_chunked(key, 10_000, 1000)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    storage.remove(key)
    assert storage.registry.snapshot() == ([], 0)


def test_a_file_s_bytes_do_not_change_with_the_buffer(storage: RegisteredStorage) -> None:
    buffer = bytearray(b"before")
    storage.store("key", buffer)
    buffer[:] = b"after, and longer"  # nor is it held: it can be resized
    assert storage.read("key", 6) == b"before"


def _mapped() -> mmap.mmap:
    mapping = mmap.mmap(-1, 10)
    mapping[:] = b"0123456789"
    return mapping


@pytest.mark.parametrize(
    "buffer",
    [
        pytest.param(b"0123456789", id="bytes"),
        pytest.param(bytearray(b"0123456789"), id="bytearray"),
        pytest.param(memoryview(b"0123456789"), id="memoryview"),
        pytest.param(memoryview(b"0123456789")[::-2], id="strided memoryview"),
        pytest.param(array.array("d", [1.5, 2.5]), id="array"),
        pytest.param(_mapped(), id="mmap"),
        pytest.param(np.arange(12.0).reshape(3, 4), id="numpy"),
        pytest.param(np.arange(12).reshape(3, 4)[::2, ::3], id="not contiguous"),
        pytest.param(np.asfortranarray(np.arange(12).reshape(3, 4)), id="fortran order"),
        pytest.param(np.array(7, dtype=np.int16), id="no dimensions"),
        pytest.param(np.array([1 + 2j]), id="complex"),
        pytest.param(np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), id="records"),
        pytest.param(np.zeros((0, 5)), id="empty"),
    ],
)
def test_any_buffer_is_stored(storage: RegisteredStorage, buffer: object) -> None:
    expected = memoryview(buffer).tobytes()  # type: ignore[arg-type]
    storage.store("key", buffer)  # type: ignore[arg-type]
    assert storage.read("key", len(expected)) == expected
    assert storage.registry.lookup("key").size == len(expected)


@pytest.mark.parametrize("value", ["text", 7, None, ["bytes"]])
def test_what_has_no_bytes_is_refused(storage: RegisteredStorage, value: object) -> None:
    with pytest.raises(TypeError):
        storage.store("key", value)  # type: ignore[arg-type]
    assert not storage.has("key")


def test_the_error_for_a_str_says_what_to_do(storage: RegisteredStorage) -> None:
    with pytest.raises(TypeError, match="encode"):
        storage.store("key", "text")  # type: ignore[arg-type]


def test_only_its_user_can_open_a_temporary_file(temp: Path) -> None:
    storage = TempFileStorage(parent=str(temp))
    with storage.registry.lease(stored(storage, b"bytes")) as entry:
        file = Path(entry.source.location)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert file.parent.parent == temp
    storage.close()


def test_a_temporary_directory_that_somebody_removed_is_made_again() -> None:
    storage = TempFileStorage()
    with storage.registry.lease(stored(storage, b"bytes")) as entry:
        directory = Path(entry.source.location).parent
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()
    assert storage.read(stored(storage, b"again"), 5) == b"again"
    storage.close()


def test_a_block_that_somebody_removed_does_not_stand_in_the_way() -> None:
    storage = SharedMemoryStorage(fallback=None)
    key = stored(storage, b"bytes")
    with storage.registry.lease(key) as entry:
        location = entry.source.location
    storage.remove(key)
    unlink_stray(location)
    assert storage.read(stored(storage, b"again"), 5) == b"again"
    storage.close()
