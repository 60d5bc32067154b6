"""Sessions on the disk: what one server has stored, the next one finds; nobody else does."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import stat
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from server.store.stored import APP, KEY, files_in, other_server, store_in
from waiting import PATIENCE_S

from mpkernel.server.store.records import About, content_of
from mpkernel.server.store.session_file import SessionFile
from mpkernel.server.store.session_store import SessionStore, Taken, key_of

pytestmark = pytest.mark.asyncio


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sessions"


def keep(store: SessionStore, key: str, content: bytes) -> None:
    """Put a session with this content into the store."""
    stored = store.keep(key, APP, lambda: content)
    assert stored is not None
    stored.changed(by_client=True)


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_a_killed_server_stored_is_taken_once(directory: Path) -> None:
    with other_server(directory) as server:
        server.change(b"one")
        server.change(b"two")
        server.kill()
        first, second = store_in(directory), store_in(directory)
        taken = await asyncio.gather(first.take(KEY), second.take(KEY))
        contents = [one.content for one in taken if one is not None]
        assert contents == [b"two"]


@pytest.mark.parametrize("latest", range(4))
async def test_of_what_several_servers_stored_the_latest_is_taken(
    directory: Path, latest: int
) -> None:
    """A page may have gone from one server to another while both lived."""
    for number in range(4):
        store = store_in(directory)
        stored = store.keep(KEY, APP, lambda number=number: b"%d" % number)
        assert stored is not None
        stored.changed(by_client=True)
        await store.close()
    for path in files_in(directory):
        read = content_of(path.read_bytes())
        assert read is not None
        at = time.time() - (1 if read[1] == b"%d" % latest else 4)
        os.utime(path, (at, at))
    store = store_in(directory)
    assert await store.take(KEY) == Taken(APP, b"%d" % latest, False)
    await store.close()


async def test_what_a_living_server_has_is_not_taken(directory: Path) -> None:
    with other_server(directory) as server:
        server.change(b"one")
        store = store_in(directory)
        assert await store.take(KEY) is None
        keep(store, KEY, b"another's")
        server.change(b"two")
        assert len(files_in(directory)) == 2
        contents = [path.read_bytes() for path in files_in(directory)]
        assert sorted(content[-3:] for content in contents) == [b"r's", b"two"]
        await store.close()


async def test_a_server_that_ends_in_order_leaves_its_sessions(directory: Path) -> None:
    store = store_in(directory, delay_s=60)
    content = b"one"
    stored = store.keep(KEY, APP, lambda: content)
    assert stored is not None
    stored.changed(by_client=True)
    content = b"two"
    await store.close()
    taken = await store_in(directory).take(KEY)
    assert taken is not None
    assert taken == (APP, b"two", False)


async def test_a_session_that_has_left_comes_back_in_the_same_server(directory: Path) -> None:
    store = store_in(directory)
    stored = store.keep(KEY, APP, lambda: None)
    assert stored is not None
    assert await store.take(KEY) is None
    stored.leave(b"last")
    stored.changed(by_client=True)
    await wait_for(lambda: KEY not in store._sessions)
    assert await store.take(KEY) == (APP, b"last", True)
    await store.close()


async def test_a_session_that_is_over_for_good_is_removed(directory: Path) -> None:
    store = store_in(directory)
    stored = store.keep(KEY, APP, lambda: b"one")
    assert stored is not None
    stored.changed(by_client=True)
    assert len(files_in(directory)) == 1
    stored.forget()
    await store.close()
    assert files_in(directory) == []
    assert list(directory.glob("*-*")) == []


async def test_another_authority_or_app_or_name_finds_nothing(directory: Path) -> None:
    with other_server(directory) as server:
        server.change(b"one")
    store = store_in(directory)
    for key in (
        key_of(APP, "mine", "somebody"),
        key_of(APP, "other"),
        key_of("/srv/other.py", "mine"),
    ):
        assert await store.take(key) is None


async def test_names_of_files_do_not_tell_the_session_id(directory: Path) -> None:
    store = store_in(directory)
    key = key_of(APP, "s_secret", "token")
    keep(store, key, b"one")
    (file,) = files_in(directory)
    assert "secret" not in str(file)
    assert b"secret" not in file.read_bytes()
    assert key_of("ab", "c") != key_of("a", "bc")


async def test_only_its_user_may_read_it(directory: Path) -> None:
    before = os.umask(0)
    try:
        keep(store_in(directory), KEY, b"one")
    finally:
        os.umask(before)
    (file,) = files_in(directory)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for folder in (directory, file.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["link", "second name", "open", "other version", "empty"])
async def test_a_file_that_is_not_as_a_server_leaves_it_is_refused(
    directory: Path, damage: str
) -> None:
    with other_server(directory) as server:
        server.change(b"one")
    (file,) = files_in(directory)
    match damage:
        case "link":
            file.rename(directory / "elsewhere")
            file.symlink_to(directory / "elsewhere")
        case "second name":
            (directory / "elsewhere").hardlink_to(file)
        case "open":
            file.chmod(0o644)
        case "other version":
            content = file.read_bytes()
            file.write_bytes(content[:16] + b"\xff" + content[17:])
        case "empty":
            file.write_bytes(b"")
    store = store_in(directory)
    assert await store.take(KEY) is None
    assert os.path.lexists(file) is (damage != "empty")
    keep(store, KEY, b"new")
    await store.close()
    newest = max(files_in(directory), key=lambda path: path.lstat().st_mtime)
    assert newest.read_bytes().endswith(b"new")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
@pytest.mark.parametrize("what", ["file", "folder", "directory"])
async def test_what_belongs_to_another_user_is_refused(directory: Path, what: str) -> None:
    with other_server(directory) as server:
        server.change(b"one")
    (file,) = files_in(directory)
    os.chown({"file": file, "folder": file.parent, "directory": directory}[what], 12345, -1)
    assert await store_in(directory).take(KEY) is None


async def test_what_is_too_old_does_not_come_back(directory: Path) -> None:
    with other_server(directory) as server:
        server.change(b"one")
    (file,) = files_in(directory)
    os.utime(file, (time.time() - 61, time.time() - 61))
    assert await store_in(directory, ttl_s=60).take(KEY) is None
    store = store_in(directory, ttl_s=60)
    keep(store, key_of(APP, "other"), b"other")
    store._sweep()
    assert not file.exists()
    assert not file.parent.exists()
    assert len(files_in(directory)) == 1


async def test_a_session_that_lives_does_not_grow_old(directory: Path) -> None:
    store = store_in(directory, ttl_s=60)
    keep(store, KEY, b"one")
    (file,) = files_in(directory)
    os.utime(file, (1, 1))
    store._sweep()
    assert file.stat().st_mtime > 1


async def test_of_too_many_the_oldest_are_removed(directory: Path) -> None:
    with other_server(directory) as server:
        server.change(b"oldest")
    (oldest,) = files_in(directory)
    os.utime(oldest, (time.time() - 30, time.time() - 30))
    store = store_in(directory, most_sessions=3)
    for name in "abc":
        keep(store, key_of(APP, name), b"x")
    store._sweep()
    assert not oldest.exists()
    assert len(files_in(directory)) == 3


async def test_the_bytes_are_bounded_and_what_was_removed_is_written_anew(directory: Path) -> None:
    store = store_in(directory, most_bytes=3000)
    content = b"x" * 2000
    stored = [store.keep(key_of(APP, name), APP, lambda: content) for name in "ab"]
    for one in stored:
        assert one is not None
        one.changed(by_client=True)
    store._sweep()
    assert len(files_in(directory)) == 1
    content = b"y" * 100
    for one in stored:
        assert one is not None
        one.changed(by_client=True)
    assert len(files_in(directory)) == 2
    store._sweep()
    assert sum(file.stat().st_size for file in files_in(directory)) <= 3000


async def test_a_file_does_not_grow_with_the_number_of_changes(tmp_path: Path) -> None:
    file = SessionFile(tmp_path / KEY, About(KEY, APP, 1.0))
    content = os.urandom(50_000)
    written = largest = 0
    for number in range(1000):
        content = content[:100] + b"%05d" % number + os.urandom(200) + content[305:]
        before = file.path.stat().st_size if number else 0
        file.write(content, durable=False)
        size = file.path.stat().st_size
        largest = max(largest, size)
        written += size - before if size > before else size
    assert largest <= 4 * len(content)
    assert written < 1000 * 1000
    assert content_of(file.path.read_bytes()) == (About(KEY, APP, 1.0), content)


async def test_a_killed_server_is_at_most_the_delay_behind(directory: Path) -> None:
    with other_server(directory, delay_s=0.1) as server:
        for number in range(50):
            server.change(b"%d" % number)

        def written() -> bool:
            files = files_in(directory)
            return bool(files) and files[0].read_bytes().endswith(b"49")

        await wait_for(written)
        server.kill()
        taken = await store_in(directory).take(KEY)
        assert taken is not None
        assert taken.content == b"49"


async def test_the_loop_never_waits_for_the_disk(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes for ever to write, and changes still return."""
    may_go_on = threading.Event()
    entered = threading.Event()
    real = os.pwrite

    def slow(*args: object) -> int:
        entered.set()
        may_go_on.wait(PATIENCE_S)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "pwrite", slow)
    store = store_in(directory, delay_s=0.001)
    content = b"0"
    stored = store.keep(KEY, APP, lambda: content)
    assert stored is not None
    stored.changed(by_client=True)
    assert await asyncio.to_thread(entered.wait, PATIENCE_S)
    for number in range(1000):
        content = b"%d" % number
        stored.changed(by_client=False)
    may_go_on.set()
    await store.close()
    assert files_in(directory)[0].read_bytes().endswith(b"999")


async def test_a_disk_that_fails_is_told_once_and_costs_the_store_alone(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    store = store_in(directory)
    keep(store, key_of(APP, "before"), b"before")
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(os, "pwrite", full)
        for number in range(10):
            store._failing.retry_now()
            keep(store, key_of(APP, str(number)), b"x")
        assert await store.take(KEY) is None
    assert caplog.text.count("sessions are not stored for now") == 1
    assert "No space left" in caplog.text
    store._failing.retry_now()
    keep(store, KEY, b"after")
    await store.close()  # at the latest then, what could not be written is written
    assert len(files_in(directory)) == 12


async def test_a_directory_that_cannot_be_used_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store = store_in(tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        assert await store.take(KEY) is None
        keep(store, KEY, b"one")
        await store.close()
    assert caplog.text.count("sessions are not stored for now") == 1


async def test_a_directory_that_is_open_to_others_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with caplog.at_level(logging.WARNING):
        keep(store_in(tmp_path / "open"), KEY, b"one")
    assert "open to others" in caplog.text
    assert os.listdir(tmp_path / "open") == []


async def test_a_write_that_broke_off_leaves_the_content_before(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(directory)
    content = b"one"
    stored = store.keep(KEY, APP, lambda: content)
    assert stored is not None
    stored.changed(by_client=True)
    real = os.pwrite
    count = 0

    def half(fd: int, rest: memoryview, position: int) -> int:
        nonlocal count
        count += 1
        if count > 1:
            raise OSError(5, "Input/output error")
        return real(fd, rest[: len(rest) // 2], position)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", half)
        content = b"two"
        stored.changed(by_client=True)
    found = content_of(files_in(directory)[0].read_bytes())
    assert found is not None
    assert found[1] == b"one"
    await store.close()
    taken = await store_in(directory).take(KEY)
    assert taken is not None
    assert taken.content == b"two"


async def test_a_store_leaves_none_of_its_folders_open(directory: Path) -> None:
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        store = store_in(directory)
        for number in range(3):
            keep(store, key_of(APP, str(number), ""), b"one")
        await store.close()
        gc.collect()
    assert not [str(one.message) for one in given if one.category is ResourceWarning]
