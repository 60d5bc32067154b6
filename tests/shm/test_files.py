"""`VirtualFile`: bytes with a URL, for as long as something shows them."""

from __future__ import annotations

import gc
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from shm import (
    InMemoryStorage,
    Owner,
    QuotaExceeded,
    RegisteredStorage,
    Registry,
    SharedMemoryStorage,
    VirtualFile,
)


@pytest.fixture
def storage() -> Iterator[RegisteredStorage]:
    storage = SharedMemoryStorage(fallback=None)
    yield storage
    storage.close()


def a_file(storage: RegisteredStorage | None, data: bytes = b"bytes") -> VirtualFile:
    return VirtualFile.create_and_register(data, storage=storage)


class Output:
    """Something that shows a file."""


def test_a_file_has_a_url_of_its_size_and_its_unguessable_key(storage: RegisteredStorage) -> None:
    file = VirtualFile.create_and_register(
        b"0123456789", storage=storage, media_type="image/png", extension="png"
    )
    assert (file.size, file.media_type) == (10, "image/png")
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}\.png", file.key)
    assert file.url == f"@file/10-{file.key}"
    assert file.read() == b"0123456789"
    assert storage.read(file.key, 10) == b"0123456789"


def test_what_is_registered_is_what_was_said_of_the_file(storage: RegisteredStorage) -> None:
    file = VirtualFile.create_and_register(
        b"bytes", storage=storage, media_type="text/plain", owner=Owner("host", "session")
    )
    info = storage.registry.lookup(file.key)
    assert info[1:4] == (5, "text/plain", Owner("host", "session"))
    assert info.references == 1


def test_what_nothing_is_said_of_is_a_stream_of_octets(storage: RegisteredStorage) -> None:
    file = a_file(storage)
    assert file.media_type == storage.registry.lookup(file.key).media_type
    assert file.media_type == "application/octet-stream"
    assert "." not in file.key


def test_no_two_files_have_the_same_key(storage: RegisteredStorage) -> None:
    assert a_file(storage).key != a_file(storage).key


@pytest.mark.parametrize("data", [b"", b"bytes", bytes(range(256))])
def test_without_a_storage_a_file_is_a_data_url(data: bytes) -> None:
    file = VirtualFile.create_and_register(data, storage=None, media_type="image/png")
    assert file.url.startswith("data:image/png;base64,")
    assert (file.key, file.size, file.media_type) == ("", len(data), "image/png")
    assert urllib.request.urlopen(file.url).read() == file.read() == data


def test_an_empty_file_is_a_data_url_and_stores_nothing(storage: RegisteredStorage) -> None:
    file = a_file(storage, b"")
    assert file.url == "data:application/octet-stream;base64,"
    assert file.read() == b""
    assert len(storage.registry) == 0


def test_the_media_type_of_a_data_url_may_have_a_comma_in_it() -> None:
    file = VirtualFile.create_and_register(
        b"bytes", storage=None, media_type='video/mp4; codecs="avc1.42E01E, mp4a.40.2"'
    )
    assert file.read() == b"bytes"


@pytest.mark.parametrize("buffer", [bytearray(b"bytes"), memoryview(b"bytes")])
@pytest.mark.parametrize("stored", [True, False])
def test_a_file_is_made_of_any_buffer(
    storage: RegisteredStorage, buffer: bytearray | memoryview, stored: bool
) -> None:
    file = VirtualFile.create_and_register(buffer, storage=storage if stored else None)
    assert file.read() == b"bytes"


@pytest.mark.parametrize("stored", [True, False])
def test_a_str_is_refused(storage: RegisteredStorage, stored: bool) -> None:
    with pytest.raises(TypeError, match="encode"):
        VirtualFile.create_and_register("text", storage=storage if stored else None)  # type: ignore[arg-type]
    assert len(storage.registry) == 0


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize(
    ("media_type", "error"),
    [
        (None, TypeError),  # what `mimetypes.guess_type` says of a name that it does not know
        (b"image/png", TypeError),
        ("text/\ud800", ValueError),
        ("text/plain\r\nSet-Cookie: a=b", ValueError),
        ("text/" + "x" * 300, ValueError),
    ],
)
def test_what_is_no_media_type_is_refused(
    storage: RegisteredStorage, media_type: Any, error: type[Exception], stored: bool
) -> None:
    with pytest.raises(error, match="media type"):
        VirtualFile.create_and_register(
            b"bytes", storage=storage if stored else None, media_type=media_type
        )
    assert len(storage.registry) == 0


def test_a_key_that_no_message_can_carry_is_refused(storage: RegisteredStorage) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        VirtualFile.create_and_register(b"bytes", storage=storage, extension="\udcff")
    assert len(storage.registry) == 0


def test_a_file_that_is_over_the_quota_is_not_made() -> None:
    storage = InMemoryStorage(registry=Registry(quota_bytes=4))
    with pytest.raises(QuotaExceeded):
        a_file(storage)
    assert storage.registry.snapshot() == ([], 0)


def test_a_file_ends_with_its_object(storage: RegisteredStorage) -> None:
    file = a_file(storage)
    key = file.key
    del file
    gc.collect()
    assert not storage.has(key)
    assert storage.registry.total_bytes == 0


def test_a_file_lives_as_long_as_the_last_that_shows_it(storage: RegisteredStorage) -> None:
    file, first, second = a_file(storage), Output(), Output()
    file.bind(first)
    file.bind(second)
    key = file.key
    del file, first
    gc.collect()
    assert storage.read(key, 5) == b"bytes"
    del second
    gc.collect()
    assert not storage.has(key)


def test_a_file_outlives_what_shows_it(storage: RegisteredStorage) -> None:
    file, output = a_file(storage), Output()
    file.bind(output)
    del output
    gc.collect()
    assert file.read() == b"bytes"


def test_a_data_url_can_be_bound_to_anything(storage: RegisteredStorage) -> None:
    file, output = a_file(storage, b""), Output()
    file.bind(output)
    del output
    gc.collect()
    assert file.read() == b""


def test_a_file_cannot_be_bound_to_what_has_no_known_end(storage: RegisteredStorage) -> None:
    file = a_file(storage)
    with pytest.raises(TypeError):
        file.bind(7)
    assert storage.registry.lookup(file.key).references == 1


def test_a_file_that_was_removed_is_a_key_error(storage: RegisteredStorage) -> None:
    file, output = a_file(storage), Output()
    storage.remove(file.key)
    with pytest.raises(KeyError):
        file.read()
    with pytest.raises(KeyError):
        file.bind(output)
    del file, output
    gc.collect()
    assert storage.registry.snapshot() == ([], 0)


def test_an_object_that_could_not_be_bound_ends_no_later_file(storage: RegisteredStorage) -> None:
    file, output = a_file(storage), Output()
    storage.remove(file.key)
    with pytest.raises(KeyError):
        file.bind(output)
    storage.store(file.key, b"later")
    del output
    gc.collect()
    assert storage.has(file.key)


def test_a_file_can_end_after_its_storage(storage: RegisteredStorage) -> None:
    file, output = a_file(storage), Output()
    file.bind(output)
    storage.close()
    with pytest.raises(KeyError):
        file.read()
    del file, output
    gc.collect()


def test_a_file_says_what_it_is(storage: RegisteredStorage) -> None:
    file = a_file(storage)
    assert repr(file) == f"<VirtualFile {file.key} 5 bytes application/octet-stream>"
    assert repr(a_file(None)) == "<VirtualFile data URL 5 bytes application/octet-stream>"
