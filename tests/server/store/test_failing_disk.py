"""A disk that fails for a while, and a folder that somebody removes: what changed meanwhile is
written as soon as it can be, though no session changes again."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path

import pytest
from server.store.stored import APP, KEY, files_in, store_in
from waiting import until_async

from mpkernel.server.store.records import content_of
from mpkernel.server.store.session_store import SessionStore, key_of
from mpkernel.server.store.stored_session import StoredSession
from mpkernel.server.store.unwritten import Unwritten

pytestmark = pytest.mark.asyncio

DELAYS_S = (0.0, 0.01)
OTHER = key_of(APP, "other")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sessions"


class Session:
    """A session whose content is a text."""

    def __init__(self, store: SessionStore, key: str = KEY) -> None:
        self.content = b""
        stored = store.keep(key, APP, lambda: self.content)
        assert stored is not None
        self.stored = stored

    def set(self, content: bytes) -> None:
        self.content = content
        self.stored.changed(by_client=True)


class Fault:
    """The file of a session cannot be written: a folder is in the way.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        path.unlink()
        self._in_the_way = path.with_name(f"{path.name}.new")
        self._in_the_way.mkdir()

    def ends(self) -> None:
        self._in_the_way.rmdir()


def contents(directory: Path) -> list[bytes]:
    """What the files have."""
    found = [content_of(path.read_bytes()) for path in files_in(directory) if path.is_file()]
    return sorted(content for _, content in filter(None, found))


async def failing(store: SessionStore, session: Session, directory: Path) -> Fault:
    """Let the disk fail with the session's next content, which is `two`."""
    session.set(b"one")
    await until_async(lambda: contents(directory) == [b"one"])
    fault = Fault(*files_in(directory))
    session.set(b"two")
    await until_async(lambda: store._failing.is_pausing)
    return fault


def retry(store: SessionStore) -> None:
    """The time until the next try is over."""
    store._failing.retry_now()
    store._awake()


@pytest.mark.parametrize("delay_s", DELAYS_S)
async def test_what_changed_meanwhile_is_written_without_another_change(
    directory: Path, delay_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(directory, delay_s=delay_s)
    session = Session(store)
    fault = await failing(store, session, directory)
    session.set(b"three")
    fault.ends()
    retry(store)
    await until_async(lambda: contents(directory) == [b"three"])
    assert caplog.text.count("sessions are not stored for now") == 1
    await store.close()


@pytest.mark.parametrize("delay_s", DELAYS_S)
async def test_the_end_of_the_server_tries_it_once_more(directory: Path, delay_s: float) -> None:
    store = store_in(directory, delay_s=delay_s)
    fault = await failing(store, Session(store), directory)
    fault.ends()
    await store.close()
    assert contents(directory) == [b"two"]


@pytest.mark.parametrize("delay_s", DELAYS_S)
async def test_a_session_that_left_meanwhile_is_written(directory: Path, delay_s: float) -> None:
    store = store_in(directory, delay_s=delay_s)
    session = Session(store)
    fault = await failing(store, session, directory)
    session.stored.leave(b"last")
    await until_async(lambda: KEY not in store._sessions)
    fault.ends()
    retry(store)
    await until_async(lambda: contents(directory) == [b"last"])
    await store.close()


async def test_a_session_that_was_forgotten_meanwhile_does_not_come_back(directory: Path) -> None:
    store = store_in(directory)
    session = Session(store)
    session.set(b"one")
    store._failing.failed(OSError(28, "No space left on device"))
    session.stored.forget()
    await until_async(lambda: KEY not in store._sessions)
    assert contents(directory) == [b"one"]
    retry(store)
    await until_async(lambda: contents(directory) == [])
    await store.close()


async def test_a_session_that_left_writes_nothing_over_the_one_after_it(directory: Path) -> None:
    store = store_in(directory)
    session = Session(store)
    fault = await failing(store, session, directory)
    session.stored.leave(b"last")
    await until_async(lambda: KEY not in store._sessions)
    fault.ends()
    store._failing.retry_now()
    after = Session(store)
    after.set(b"after")
    store._awake()
    await store.close()
    assert contents(directory) == [b"after"]


async def test_what_was_stored_is_found_meanwhile(directory: Path) -> None:
    store = store_in(directory)
    session = Session(store)
    session.set(b"one")
    session.stored.leave(b"last")
    await until_async(lambda: KEY not in store._sessions)
    store._failing.failed(OSError(28, "No space left on device"))
    taken = await store.take(KEY)
    assert taken is not None
    assert taken.content == b"last"
    await store.close()


@pytest.mark.parametrize("delay_s", DELAYS_S)
async def test_a_folder_that_was_removed_is_made_anew_with_all_sessions(
    directory: Path, delay_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(directory, delay_s=delay_s)
    first, second = Session(store), Session(store, OTHER)
    first.set(b"first")
    second.set(b"second")
    await until_async(lambda: contents(directory) == [b"first", b"second"])
    shutil.rmtree(directory.parent)
    with caplog.at_level(logging.WARNING):
        first.set(b"first again")
        await until_async(lambda: contents(directory) == [b"first again", b"second"])
    assert caplog.text.count("the folder of stored sessions was removed") == 1
    assert "not stored for now" not in caplog.text
    await store.close()


async def test_what_left_meanwhile_is_bounded(directory: Path) -> None:
    store = store_in(directory)
    unwritten = Unwritten(most_bytes=100)
    living = Session(store).stored
    unwritten.add(living)
    left: list[StoredSession] = []
    for number in range(4):
        session = Session(store, key_of(APP, str(number))).stored
        session.leave(b"x" * 40)
        unwritten.add(session)
        left.append(session)
    unwritten.add(left[2])
    assert unwritten.take() == [living, left[3], left[2]]
    assert not unwritten
    await store.close()


class NoThreads:
    """The system gives no threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patched = monkeypatch

    def begin(self) -> None:
        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        self._patched.setattr(threading.Thread, "start", start)

    def end(self) -> None:
        self._patched.undo()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> NoThreads:
    return NoThreads(monkeypatch)


async def test_what_changed_while_there_were_no_threads_is_written_with_the_next_change(
    directory: Path, no_threads: NoThreads
) -> None:
    store = store_in(directory, delay_s=0.001)
    session, other = Session(store), Session(store, OTHER)
    no_threads.begin()
    session.set(b"one")
    other.set(b"other's")
    no_threads.end()
    session.set(b"two")
    await until_async(lambda: contents(directory) == [b"other's", b"two"])
    await store.close()


async def test_what_changed_while_there_were_no_threads_is_written_at_the_end(
    directory: Path, no_threads: NoThreads
) -> None:
    store = store_in(directory, delay_s=60)
    session, over = Session(store), Session(store, OTHER)
    no_threads.begin()
    session.set(b"one")
    over.stored.leave(b"left")
    store.close_now()
    no_threads.end()
    assert contents(directory) == [b"left", b"one"]
