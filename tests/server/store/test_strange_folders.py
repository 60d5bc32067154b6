"""What else may lie in the directory of the store, or hold its locks: the store goes on."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from server.store.stored import APP, KEY, files_in, store_in
from waiting import until_async

from mpkernel.server.store.listing import stored_in
from mpkernel.server.store.owners import locked
from mpkernel.server.store.session_store import key_of

OTHER = key_of(APP, "other")

SERVER_THAT_FORKS = """
import os, pathlib, sys, time
from mpkernel.server.store.session_store import SessionStore, key_of
directory = pathlib.Path(sys.argv[1])
store = SessionStore(directory, delay_s=0, ttl_s=60, most_sessions=99, most_bytes=1 << 20)
store.keep(sys.argv[2], "/srv/app.py", lambda: b"one").changed(by_client=True)
while not list(directory.glob(f"*/{sys.argv[2]}")):  # another thread writes it
    time.sleep(0.005)
fork = os.fork()
if fork == 0:
    sys.stdin.read()
    os._exit(0)
print(fork, flush=True)
time.sleep(600)
"""

HOLDER_THAT_FORKS = """
import os, pathlib, sys
from mpkernel.server.store.owners import locked
with locked(pathlib.Path(sys.argv[1])):
    fork = os.fork()
    if fork == 0:
        sys.stdin.read()
        os._exit(0)
print(fork, flush=True)
os.wait()
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "sessions"
    path.mkdir(mode=0o700)
    return path


def forking(program: str, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """A process that has forked, and the id of its fork, which lives until stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


async def test_a_fork_of_a_dead_server_keeps_no_session(directory: Path) -> None:
    server, fork = forking(SERVER_THAT_FORKS, str(directory), KEY)
    server.send_signal(signal.SIGKILL)
    server.wait()
    store = store_in(directory)
    try:
        taken = await store.take(KEY)
        assert taken is not None
        assert taken.content == b"one"
    finally:
        os.kill(fork, signal.SIGKILL)
        server.communicate()
        await store.close()


def test_a_fork_does_not_keep_the_lock_of_the_directory(directory: Path) -> None:
    holder, _ = forking(HOLDER_THAT_FORKS, str(directory))
    with locked(directory):  # else this raises TimeoutError
        assert holder.poll() is None
    holder.communicate()


def without_a_lock(folder: Path) -> None:
    (folder / "owner").mkdir()


def with_a_link(folder: Path) -> None:
    (folder / "owner").symlink_to("elsewhere")


@pytest.mark.parametrize("damage", [without_a_lock, with_a_link])
async def test_a_damaged_folder_hides_and_stops_no_other(
    directory: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = directory / "4711-0123456789abcdef"
    folder.mkdir(mode=0o700)
    (folder / OTHER).write_bytes(b"")
    (folder / OTHER).chmod(0o600)
    damage(folder)
    store = store_in(directory)
    with caplog.at_level(logging.WARNING):
        stored = store.keep(KEY, APP, lambda: b"one")
        assert stored is not None
        stored.changed(by_client=True)
        assert await store.take(OTHER) is None
        store._sweep()
    assert not caplog.text
    assert {one.session for one in stored_in(directory)} == {KEY, OTHER}
    await store.close()


async def test_a_lock_that_another_process_holds_for_long_delays_no_writing(
    directory: Path,
) -> None:
    store = store_in(directory, delay_s=0.001)
    content = b"one"
    stored = store.keep(KEY, APP, lambda: content)
    assert stored is not None
    stored.changed(by_client=True)
    await until_async(lambda: len(files_in(directory)) == 1)
    with locked(directory):
        store._sweep()
        assert not store._failing.is_pausing
        content = b"two"
        stored.changed(by_client=True)
        await until_async(lambda: b"two" in files_in(directory)[0].read_bytes())
    await store.close()


async def test_a_session_whose_content_cannot_be_written_stops_no_other(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(directory, delay_s=0.001)
    numbers = itertools.count()
    wrong = store.keep(KEY, APP, lambda: next(numbers))  # type: ignore[arg-type, return-value]
    assert wrong is not None

    def is_said() -> bool:
        wrong.changed(by_client=True)
        return "a session could not be stored" in caplog.text

    await until_async(is_said)
    well = store.keep(OTHER, APP, lambda: b"well")
    assert well is not None
    well.changed(by_client=True)
    await until_async(lambda: any(b"well" in path.read_bytes() for path in files_in(directory)))
    await store.close()
