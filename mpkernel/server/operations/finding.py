"""Finds all servers of this user that keep a snapshot.

The name and the content of a snapshot's file say which process keeps it. So a file that a killed
server has left is recognised, and removed by the next search. Where the server ran in another
container, its process cannot be looked for; but nobody listens at its control socket any more.
`snapshot_file` keeps a server's snapshot.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from mpkernel.plain_text import plain
from mpkernel.private_files import check_private, remove_leftovers, runtime_directories
from mpkernel.server.operations.kept_files import read_kept
from mpkernel.server.operations.snapshot import ServerSnapshot
from shm.names import own_tag, owner_of

__all__ = ["PublishedServer", "published_servers"]

logger = logging.getLogger(__name__)

_SUFFIX = ".json"
_SOCKET = ".sock"
_MAX_BYTES = 64 * 1024 * 1024
_decoder = msgspec.json.Decoder(ServerSnapshot)


class PublishedServer(NamedTuple):
    """A server that is not known to have ended.

    Attributes:
        path: the file of its snapshot. Its other files have the same name with another suffix.
        snapshot: the content of that file.
        process: its process; None if it runs in another container.
    """

    path: Path
    snapshot: ServerSnapshot
    process: psutil.Process | None

    @property
    def is_stopped(self) -> bool:
        """Whether its process is stopped (by SIGSTOP), so that it answers nothing."""
        try:
            return self.process is not None and self.process.status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return False


def published_servers() -> list[PublishedServer]:
    """Every server of this user that keeps a snapshot, the oldest first. What killed servers left
    is removed."""
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
        snapshot = read_kept(path, _decoder, max_bytes=_MAX_BYTES)
    except FileNotFoundError:  # it has left meanwhile
        return None
    except (OSError, msgspec.DecodeError) as error:
        logger.warning(
            "a snapshot cannot be read, perhaps of another version: %s: %s",
            plain(str(path)),
            plain(str(error)),
        )
        return None
    tag = owner_of(path.name)
    if tag is None or tag.pid != snapshot.pid:
        logger.warning(
            "a snapshot is ignored, its owner is not the one in its name: %s", plain(str(path))
        )
        return None
    if tag.namespace == own_tag().namespace:
        return PublishedServer(path, snapshot, _process(tag.pid))
    if snapshot.has_control and _refuses(path.with_suffix(_SOCKET)):
        _remove(path)
        return None
    return PublishedServer(path, snapshot, None)


def _refuses(path: Path) -> bool:
    """Whether nobody listens at a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError as error:  # too many others wait there, or it was closed in order
            logger.debug("a control socket cannot be tried: %s: %s", plain(str(path)), error)
    return False


def _remove(path: Path) -> None:
    for suffix in (_SUFFIX, _SOCKET, ".key"):
        try:
            path.with_suffix(suffix).unlink(missing_ok=True)
        except OSError as error:
            logger.debug("what a dead server left stays: %s", error)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None
