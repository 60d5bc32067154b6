"""A session that is opened again at once, before the end of the one before it is on the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from server.store.stored import APP, KEY, files_in, store_in
from waiting import until_async

from mpkernel.server.store.records import content_of
from mpkernel.server.store.session_store import SessionStore, Taken
from mpkernel.server.store.stored_session import StoredSession

LATER_S = 3600.0  # nothing is written before the store is closed


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


def kept(store: SessionStore, content: bytes) -> StoredSession:
    stored = store.keep(KEY, APP, lambda: content)
    assert stored is not None
    return stored


async def closed(store: SessionStore) -> list[bytes]:
    """Close the store. Returns what is on the disk then."""
    await store.close()
    found = (content_of(path.read_bytes()) for path in files_in(store._directory))
    return [content for _, content in filter(None, found)]


async def test_one_that_has_left_comes_back_at_once(directory: Path) -> None:
    store = store_in(directory, delay_s=LATER_S)
    before = kept(store, b"before")
    before.changed(by_client=True)
    before.leave(b"last")
    assert await store.take(KEY) == Taken(APP, b"last", True)
    assert await closed(store) == [b"last"]


@pytest.mark.parametrize("delay_s", [0.0, LATER_S])
async def test_the_next_one_is_stored_in_its_place(directory: Path, delay_s: float) -> None:
    store = store_in(directory, delay_s=delay_s)
    before = kept(store, b"before")
    before.changed(by_client=True)
    before.forget()
    assert await store.take(KEY) is None
    after = kept(store, b"after")
    after.changed(by_client=True)
    assert await closed(store) == [b"after"]


async def test_one_that_lives_is_not_replaced(directory: Path) -> None:
    store = store_in(directory)
    kept(store, b"before")
    assert store.keep(KEY, APP, lambda: b"after") is None
    await store.close()


@pytest.mark.parametrize("delay_s", [0.0, 0.001])
async def test_of_many_the_last_one_is_on_the_disk(directory: Path, delay_s: float) -> None:
    store = store_in(directory, delay_s=delay_s)
    for number in range(300):
        stored = kept(store, b"%d" % number)
        stored.changed(by_client=True)
        if number < 299:
            if number % 3:
                stored.leave(b"left by %d" % number)
            else:
                stored.forget()
        await asyncio.sleep(0)
    assert await closed(store) == [b"299"]


async def test_one_that_left_while_the_disk_failed_comes_back_as_it_was(directory: Path) -> None:
    store = store_in(directory)
    before = kept(store, b"before")
    before.changed(by_client=True)
    store._failing.failed(OSError(28, "No space left on device"))
    before.leave(b"last")
    await until_async(lambda: KEY not in store._sessions)
    assert await store.take(KEY) == Taken(APP, b"last", True)
    assert await closed(store) == [b"last"]
