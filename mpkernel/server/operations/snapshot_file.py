"""`SnapshotFile`: a server's snapshot in a file, where operators find it.

    event loop, once a second          the pool's own writer          anybody of the same user
    snapshot_of(pool) ─ changed? ────▶ write_private ─▶ <name>.json ─▶ published_servers()

`finding` finds the files of all servers.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path

import msgspec
import psutil

from mpkernel.private_files import make_private, write_private
from mpkernel.server.operations.snapshot import PoolSnapshot, ServerSnapshot
from mpkernel.server.supervision.tallies import AppTotals
from mpkernel.version import __version__

__all__ = ["SnapshotFile"]

logger = logging.getLogger(__name__)


class SnapshotFile:
    """The file of one server. `write` and `remove` may be called from any thread.

    Args:
        path: the file.
        has_control: see `ServerSnapshot`.
    """

    def __init__(self, path: Path, *, has_control: bool) -> None:
        self._path = path
        self._lock = threading.Lock()  # guards all below, and the file
        self._is_removed = False
        self._written: PoolSnapshot | None = None
        self._is_failing = False
        now = time.monotonic()
        self._template = ServerSnapshot(
            pid=os.getpid(),
            created_at=psutil.Process().create_time(),
            program=os.path.basename(sys.argv[0]) if sys.argv else "",
            version=__version__,
            python=".".join(map(str, sys.version_info[:3])),
            started_at=now,
            taken_at=now,
            has_control=has_control,
            pool=PoolSnapshot(
                apps=[],
                totals=AppTotals.sum(()),
                standby=[],
                files=0,
                files_bytes=0,
                is_leaving=False,
            ),
        )

    def write(self, pool: PoolSnapshot) -> None:
        """Write the file, unless nothing has changed. If that fails, it is logged once."""
        with self._lock:
            if self._is_removed or (pool == self._written and self._path.exists()):
                return
            server = msgspec.structs.replace(self._template, pool=pool, taken_at=time.monotonic())
            try:
                if not self._path.parent.exists():  # somebody has cleaned up
                    make_private(self._path.parent)
                write_private(self._path, msgspec.json.encode(server))
            except OSError as error:
                if not self._is_failing:
                    logger.warning("no snapshot can be kept for operators for now: %s", error)
                self._is_failing = True
                return
            self._written = pool
            self._is_failing = False

    def remove(self) -> None:
        """Remove the file, and write no more. Idempotent."""
        with self._lock:
            self._is_removed = True
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("a snapshot could not be removed: %s", error)
