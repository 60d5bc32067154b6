"""Snapshots that operators can read: who writes them, and who finds those of all servers.

    event loop, once a second          the pool's own writer          anybody of the same user
    snapshot_of(pool) ─ changed? ────▶ write_private ─▶ <name>.json ─▶ published_servers()

A file's name and content say which process keeps it, so that one that was killed is recognised:
what it left is removed by whoever looks next.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from mpkernel.server.places import (
    check_private,
    remove_leftovers,
    runtime_directories,
    write_private,
)
from mpkernel.server.snapshot import PoolSnapshot
from mpkernel.version import __version__
from shm.names import own_tag, owner_of

__all__ = ["PublishedServer", "SnapshotFile", "ServerSnapshot", "published_servers"]

logger = logging.getLogger(__name__)

_SUFFIX = ".json"


class ServerSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A server, as its file says.

    Attributes:
        pid: its process id.
        created_at: when the process was created; seconds since the epoch.
        program: what was started, without its arguments.
        version: mpkernel's.
        python: Python's.
        started_at: when its pool was started; `time.monotonic()` on the same machine.
        taken_at: when this was so; the same.
        has_control: whether orders reach it.
        pool: its apps and processes.
    """

    pid: int
    created_at: float
    program: str
    version: str
    python: str
    started_at: float
    taken_at: float
    has_control: bool
    pool: PoolSnapshot


class SnapshotFile:
    """One server's own. `write` and `remove` from any thread.

    Args:
        path: where.
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
            pool=PoolSnapshot(apps=[], standby=[], files=0, files_bytes=0, is_leaving=False),
        )

    def write(self, pool: PoolSnapshot) -> None:
        """Write it, unless nothing has changed. What stands in the way is warned of once."""
        with self._lock:
            if self._is_removed or (pool == self._written and self._path.exists()):
                return
            server = msgspec.structs.replace(self._template, pool=pool, taken_at=time.monotonic())
            try:
                write_private(self._path, msgspec.json.encode(server))
            except OSError as error:
                if not self._is_failing:
                    logger.warning("no snapshot can be kept for operators for now: %s", error)
                self._is_failing = True
                return
            self._written = pool
            self._is_failing = False

    def remove(self) -> None:
        """Remove it; nothing is written any more. Idempotent."""
        with self._lock:
            self._is_removed = True
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("a snapshot could not be removed: %s", error)


class PublishedServer(NamedTuple):
    """A server that lives, as far as can be told.

    Attributes:
        path: its snapshot's; what else it keeps has the same name with another suffix.
        snapshot: what it says.
        process: it; None where it runs in another container.
    """

    path: Path
    snapshot: ServerSnapshot
    process: psutil.Process | None

    @property
    def is_stopped(self) -> bool:
        """Whether somebody stopped it, so that it answers nothing."""
        try:
            return self.process is not None and self.process.status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return False


def published_servers() -> list[PublishedServer]:
    """Every server of this user that keeps a snapshot, the oldest first. What killed ones left is
    removed."""
    servers = []
    for directory in runtime_directories():
        try:
            check_private(directory)
            remove_leftovers(directory)
            paths = sorted(directory.glob(f"mpk-*{_SUFFIX}"))
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("servers are not looked for in %s: %s", directory, error)
            continue
        found = (_server(path) for path in paths)
        servers += [server for server in found if server is not None]
    return sorted(servers, key=lambda server: server.snapshot.created_at)


def _server(path: Path) -> PublishedServer | None:
    try:
        snapshot = msgspec.json.decode(path.read_bytes(), type=ServerSnapshot)
    except FileNotFoundError:  # it has left meanwhile
        return None
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("a snapshot cannot be read, perhaps of another version: %s: %s", path, error)
        return None
    tag = owner_of(path.name)
    if tag is None or tag.pid != snapshot.pid:
        logger.warning("a snapshot that is not of whom its name says: %s", path)
        return None
    is_of_here = tag.namespace == own_tag().namespace
    return PublishedServer(path, snapshot, _process(tag.pid) if is_of_here else None)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None
