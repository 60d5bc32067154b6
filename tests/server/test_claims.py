"""The directory of a server's workers, when somebody cleans up temporary files in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mpkernel.server.workers import claims as claims_module
from mpkernel.server.workers.claims import Claims

HOLDER = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="claims-") as directory:  # by a short path
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory, "mpkernel")


def test_a_worker_whose_key_was_removed_is_reached_for_its_next_session(runtime: Path) -> None:
    claims = Claims("of-tests")
    with closing(claims.socket):
        (key,) = runtime.glob("workers-of-tests/*.key")
        key.unlink()
        assert claims.claim("s") == claims.name
        assert claims.address_of(claims.name)[1] == claims.key
        os.utime(key, (0, 0))
        claims.claim("t")
        assert key.stat().st_mtime > 0
        claims.stop_listening()
        claims.claim("u")
        assert not key.exists()
    claims.leave()


def test_a_worker_whose_key_was_removed_is_not_taken_for_dead(runtime: Path) -> None:
    claims = Claims("of-tests")
    folder = runtime / "workers-of-tests"
    with closing(claims.socket):
        claims.claim("s")
        (key,) = folder.glob("*.key")
        key.unlink()
        os.utime(folder, (0, 0))
        other = Claims("another-server")
        other.socket.close()
        assert claims.owner("s") == claims.name
        other.leave()
    claims.leave()
    assert not folder.exists()


@pytest.fixture
def stopped_holder(runtime: Path) -> Iterator[Path]:
    """A directory of workers whose lock another process has, which is stopped."""
    folder = runtime / "workers-of-tests"
    for one in (runtime, folder):
        one.mkdir(mode=0o700)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        yield folder
        holder.kill()


def test_a_process_that_is_stopped_with_the_lock_holds_up_nobody_for_ever(
    stopped_holder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(claims_module, "_PATIENCE_S", 0.1)
    with pytest.raises(TimeoutError, match=f"held the lock {stopped_holder}"):
        Claims("of-tests")
    other = Claims("another-server")  # which looks for what dead servers have left
    other.socket.close()
    other.leave()
    assert not caplog.records
