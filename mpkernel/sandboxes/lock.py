"""`Lock`: keeps other processes from an environment, or from removing it."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

__all__ = ["Lock"]


class Lock:
    """The lock of one environment.

    Args:
        path: its file, which is made if it does not exist.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = _opened(path)

    @property
    def fd(self) -> int:
        """Its descriptor. Every process that has it open holds the lock, too."""
        assert self._fd is not None
        return self._fd

    def try_alone(self) -> bool:
        """Try to hold it alone. Returns whether that was possible. If not, a lock that was held
        together with others may be lost."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Try to hold it together with others. Returns whether that was possible."""
        return self._try(fcntl.LOCK_SH)

    def remove(self) -> None:
        """Remove the lock's file. The caller must hold the lock alone."""
        os.unlink(self._path)

    def close(self) -> None:
        """Close its descriptor. The lock is free when all who have the descriptor have closed it.
        Idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def _try(self, operation: int) -> bool:
        while True:
            try:
                fcntl.flock(self.fd, operation | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                    raise
                return False
            if self._is_current():
                return True
            # `prune` has removed the file: a lock on it means nothing to others.
            self.close()
            self._fd = _opened(self._path)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.fd), os.stat(self._path))
        except FileNotFoundError:
            return False


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
