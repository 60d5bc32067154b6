"""A directory of temporary files. Its name says which process made it, as the names of blocks
do."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile

from shm.aging import KeptFolder
from shm.blocks import OUT_OF_SPACE
from shm.errors import NoSpace, Unavailable
from shm.locks import fork_safe_rlock
from shm.names import own_tag
from shm.sources import TempFileSource

__all__ = ["TempDirectory"]


class TempDirectory:
    """Made when the first file is written (mode 0700, files 0600), removed by `close`.

    Args:
        parent: the folder in which it is made. Default: the system's directory for temporary files.
            `shm.sweep` looks only there.
        path: a directory that is there already, and that somebody else removes. Default: none.
    """

    def __init__(self, parent: str | None = None, *, path: str | None = None) -> None:
        self._parent = parent
        self._path = path
        self._is_given = path is not None
        self._maker_pid = os.getpid()
        self._lock = fork_safe_rlock()  # guards `_path`, `_kept`, `_maker_pid` and `_closed`
        self._kept: KeptFolder | None = None
        self._closed = False
        self._numbers = itertools.count()

    @property
    def path(self) -> str | None:
        """Its absolute path; None while there is none."""
        return self._path

    def write(self, data: memoryview) -> TempFileSource:
        """Write these bytes to a new file.

        Raises:
            NoSpace: the disk is full.
            Unavailable: no temporary file can be made.
        """
        try:
            path = os.path.join(self._make(), str(next(self._numbers)))
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"no temporary file can be had: {error}") from error
        try:
            self._fill(fd, data)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
        return TempFileSource(path)

    def close(self) -> None:
        """Remove the directory with everything in it. Idempotent. In a fork, nothing is removed."""
        with self._lock:
            self._closed = True
            path, self._path = self._path, None
            self._keep(None)
        if path is not None and not self._is_given and os.getpid() == self._maker_pid:
            shutil.rmtree(path, ignore_errors=True)

    def _make(self) -> str:
        with self._lock:
            if self._closed:
                raise Unavailable("the storage is closed")
            if self._is_given and self._path is not None:
                return self._path
            foreign = os.getpid() != self._maker_pid
            # Another program, which cleans temporary files up, may have removed the directory.
            if self._path is None or foreign or not os.path.isdir(self._path):
                self._path = tempfile.mkdtemp(prefix=own_tag().prefix, dir=self._parent)
                self._maker_pid = os.getpid()
                self._keep(self._path)
            return self._path

    def _keep(self, path: str | None) -> None:
        """Keep this directory from programs that clean up, and the one before no longer. In a fork,
        the maker goes on to keep the one before."""
        if self._kept is not None:
            self._kept.end()
        self._kept = None if path is None else KeptFolder(path)

    def _fill(self, fd: int, data: memoryview) -> None:
        try:
            if len(data) and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, len(data))
            written = 0
            while written < len(data):
                written += os.write(fd, data[written:])
        except OSError as error:
            if error.errno not in OUT_OF_SPACE:
                raise Unavailable(f"a temporary file cannot be written: {error}") from error
            status = os.fstatvfs(fd)
            where = self._path or tempfile.gettempdir()
            raise NoSpace(where, len(data), status.f_bavail * status.f_frsize) from error
