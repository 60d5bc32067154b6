"""`SessionFile`: the file of one session. `read_file` reads one that another server wrote."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from mpkernel.server.store.records import About, Records

__all__ = ["SessionFile", "read_file"]

_LEAST_BYTES = 64 * 1024
_MOST_GROWTH = 4
"""A file is written anew when it would be larger than this many times its content, and larger than
`_LEAST_BYTES`."""


class SessionFile:
    """Used by one thread at a time.

    Args:
        path: where it is. Its folder exists, and belongs to this server alone.
        about: which session it is.
    """

    def __init__(self, path: Path, about: About) -> None:
        self.path = path
        self._about = about
        self._records = Records()
        self._size = 0  # 0: there is no file, or not one that can be appended to

    def write(self, content: bytes, *, durable: bool) -> None:
        """Make this the content of the file.

        Args:
            content: what `Journal.kept` gave.
            durable: whether it must be on the disk itself when this returns.

        Raises:
            OSError: it could not be written. The next call writes the whole file.
        """
        if self._size and content == self._records.content:
            return
        size, self._size = self._size, 0
        if size:
            record = self._records.change(content)
            if size + len(record) <= max(_LEAST_BYTES, _MOST_GROWTH * len(content)):
                with suppress(FileNotFoundError):  # removed by the store's bounds: it begins anew
                    self._append(record, size, durable=durable)
                    self._size = size + len(record)
                    return
        beginning = self._records.beginning(self._about, content)
        self._replace(beginning, durable=durable)
        self._size = len(beginning)

    def remove(self) -> None:
        """Remove it, if it is there.

        Raises:
            OSError: it cannot be removed.
        """
        self._size = 0
        self.path.unlink(missing_ok=True)

    def _append(self, record: bytes, position: int, *, durable: bool) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # Not with O_APPEND: what a failed write has left is overwritten.
            _write(fd, record, position)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _replace(self, content: bytes, *, durable: bool) -> None:
        unfinished = self.path.with_name(f"{self.path.name}.new")
        unfinished.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(unfinished, flags, 0o600)
        try:
            try:
                os.fchmod(fd, 0o600)  # whatever the umask takes away
                _write(fd, content, 0)
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(unfinished, self.path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(self.path.parent)


def read_file(path: Path, most_bytes: int) -> bytes:
    """A file's bytes.

    Raises:
        OSError: there is none; or it is a link, not a regular file, or larger than `most_bytes`; or
            it belongs to another user, or is open to others.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise PermissionError(errno.EACCES, "it is not a file of one name", str(path))
        if found.st_uid != os.geteuid():
            raise PermissionError(errno.EACCES, "it belongs to another user", str(path))
        if found.st_mode & 0o077:
            raise PermissionError(errno.EACCES, "it is open to others (chmod 600)", str(path))
        if found.st_size > most_bytes:
            raise OSError(errno.EFBIG, "it is too large", str(path))
        with open(fd, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(fd)


def _write(fd: int, content: bytes, position: int) -> None:
    rest = memoryview(content)
    while rest:
        written = os.pwrite(fd, rest, position)
        rest = rest[written:]
        position += written


def _sync_folder(folder: Path) -> None:
    """Have the system write the names in a folder to the disk itself."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
