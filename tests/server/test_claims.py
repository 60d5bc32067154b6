"""The directory of a server's workers, when somebody cleans up temporary files in it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mpkernel.server.workers.claims import Claims


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
