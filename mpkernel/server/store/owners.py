"""`Folders`: the store's directory, which several servers may share.

    sessions/
      lock                       held for a moment by whoever makes, takes over or removes something
      4711-5f0c…/                the folder of one server
        owner                    locked by that server while it lives
        9ab3…                    the file of a session; its name is the session's key

Only a server writes into its folder while it lives. When its lock is free, it is dead, and another
server may take over what it left, by renaming it into its own folder. The system frees a lock with
the process that holds it, whatever ends the process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mpkernel.aio.forks import release, unlocked, withhold_from_forks
from mpkernel.file_locks import wait_for_lock
from mpkernel.logs import get_logger
from mpkernel.private_files import check_private, make_private

__all__ = ["FileInfo", "Folders", "files_of", "locked", "remove_file"]

logger = get_logger(__name__)

_LOCK = "lock"
_OWNER = "owner"
_FOLDER = re.compile(r"\d+-[0-9a-f]{16}")
_FILE = re.compile(r"[0-9a-f]{40}(\.new)?")
_DAMAGED = (errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOENT)
"""What is wrong if the lock of one folder cannot be tried, but others can."""

_PATIENCE_S = 2.0


class FileInfo(NamedTuple):
    """A session's file.

    Attributes:
        path: where it is.
        size: its bytes.
        written_at: when it was last written, or its session lived; seconds as `time.time`.
        is_live: whether a server that lives has it.
    """

    path: Path
    size: int
    written_at: float
    is_live: bool


class Folders:
    """A server's access to the directory. All methods may wait for the disk, and up to 2 s for
    another server: not on the loop's thread.

    Args:
        directory: which. It is made if it does not exist.

    Attributes:
        own: this server's folder.

    Raises:
        OSError: the directory cannot be used: for example, it is open to others.
    """

    def __init__(self, directory: Path) -> None:
        make_private(directory)
        self._directory = directory
        self.own = directory / f"{os.getpid()}-{secrets.token_hex(8)}"
        with locked(directory):
            self.own.mkdir(mode=0o700)
            self._lock = _locked(self.own / _OWNER)
            if self._lock is None:
                raise BlockingIOError(f"{self.own / _OWNER} is locked by another process")
            withhold_from_forks(self._lock)  # a fork that lives for longer would keep the lock

    @contextmanager
    def found(self, key: str) -> Iterator[Path | None]:
        """The file of this key that this server has or a dead one has left; None for none. If there
        are several, because the session was opened on several servers, it is the latest. No other
        server takes it meanwhile.

        Raises:
            OSError: the directory cannot be used.
        """
        with locked(self._directory):
            for path in _latest_first(folder / key for folder in _folders(self._directory)):
                if path.parent == self.own:
                    yield path
                    return
                with _dead(path.parent) as is_dead:
                    if is_dead:
                        yield path
                        return
            yield None

    def sweep(
        self, *, live: Set[str], ttl_s: float, most_files: int, most_bytes: int
    ) -> list[Path]:
        """Remove what is too old, and the oldest of what is too much, of this server's files and of
        those that dead ones left; and the folders of dead servers that are empty.

        Args:
            live: the keys of the sessions that this server has. Their files do not grow old.
            ttl_s, most_files, most_bytes: the bounds.

        Returns: the files that were removed.

        Raises:
            OSError: the directory cannot be used.
        """
        now = time.time()
        for key in live:
            _touch(self.own / key)
        removed: list[Path] = []
        with locked(self._directory):
            ours: list[FileInfo] = list(_files_in(self.own, live=live))
            for folder in _folders(self._directory):
                if folder == self.own:
                    continue
                with _dead(folder) as is_dead:
                    if is_dead:
                        ours += _files_in(folder, live=frozenset())
            ours.sort(key=lambda info: -info.written_at)
            size = count = 0
            for info in ours:
                count += 1
                size += info.size
                is_old = not info.is_live and now - info.written_at > ttl_s
                if is_old or count > most_files or size > most_bytes:
                    info.path.unlink(missing_ok=True)
                    removed.append(info.path)
                    count -= 1
                    size -= info.size
            for folder in _folders(self._directory):
                if folder != self.own:
                    _remove_empty(folder)
        return removed

    def close(self) -> None:
        """Leave the folder to other servers. Idempotent."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            with locked(self._directory):
                if not any(_files_in(self.own, live=frozenset())):
                    (self.own / _OWNER).unlink(missing_ok=True)
                    self.own.rmdir()
        except OSError as error:  # the next server removes the folder
            logger.debug("the folder of this server could not be removed: %s", error)
        finally:
            release(lock)
            os.close(lock)


def files_of(directory: Path) -> list[FileInfo]:
    """All files of sessions in a directory, the latest first.

    Raises:
        OSError: the directory cannot be read, or is open to others.
    """
    check_private(directory)
    found: list[FileInfo] = []
    with locked(directory):
        for folder in _folders(directory):
            with _dead(folder) as is_dead:
                files = _files_in(folder, live=frozenset())
                found += [info._replace(is_live=not is_dead) for info in files]
    return sorted(found, key=lambda info: -info.written_at)


def remove_file(info: FileInfo) -> None:
    """Remove a session's file, unless a server has taken it over meanwhile.

    Raises:
        OSError: it cannot be removed.
    """
    with locked(info.path.parent.parent), _dead(info.path.parent) as is_dead:
        if is_dead:
            info.path.unlink(missing_ok=True)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of the directory: nobody else makes, takes over or removes a folder meanwhile.

    Raises:
        TimeoutError: another process has the lock for more than 2 s.
        OSError: the directory cannot be used.
    """
    fd = _opened(directory / _LOCK)
    try:
        wait_for_lock(fd, directory / _LOCK, _PATIENCE_S)
        yield
    finally:
        unlocked(fd)


def _locked(path: Path) -> int | None:
    """A descriptor that has the lock on this file; None where another has it."""
    fd = _opened(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


@contextmanager
def _dead(folder: Path) -> Iterator[bool]:
    """Whether the server of this folder is dead. A folder whose lock cannot be tried, because it is
    damaged, counts as that of a server that lives: nothing in it is used, and nothing removed.

    Raises:
        OSError: no lock can be tried for now.
    """
    fd = None
    try:
        fd = _locked(folder / _OWNER)
    except OSError as error:
        if error.errno not in _DAMAGED:  # no descriptor is left, for example
            raise
        logger.debug("a folder in the session store is not used: %s", error)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            unlocked(fd)


def _folders(directory: Path) -> list[Path]:
    """The folders of servers. Whatever has a name of another kind, is a link or belongs to another
    user is not among them."""
    found: list[Path] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if _FOLDER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                try:
                    check_private(Path(entry.path))
                except OSError as error:
                    logger.debug("a folder in the session store is not used: %s", error)
                    continue
                found.append(Path(entry.path))
    return found


def _latest_first(paths: Iterable[Path]) -> list[Path]:
    """Those of the paths at which there is something, the one that was written last first."""
    found = []
    for path in paths:
        try:
            found.append((path.lstat().st_mtime_ns, path))
        except OSError:  # there is nothing, or its folder is damaged
            continue
    return [path for _, path in sorted(found, reverse=True)]


def _files_in(folder: Path, *, live: Set[str]) -> Iterator[FileInfo]:
    with os.scandir(folder) as entries:  # who reads may stop half-way
        for entry in entries:
            if _FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                path = Path(entry.path)
                yield FileInfo(path, found.st_size, found.st_mtime, entry.name in live)


def _touch(path: Path) -> None:
    try:
        os.utime(path, follow_symlinks=False)
    except FileNotFoundError:  # the session has had nothing to store so far
        return


def _remove_empty(folder: Path) -> None:
    with _dead(folder) as is_dead:
        if is_dead and os.listdir(folder) == [_OWNER]:
            (folder / _OWNER).unlink()
            folder.rmdir()
