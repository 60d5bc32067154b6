"""`KeptFolder`: a folder of temporary files that no program cleans up while it is used.

`systemd-tmpfiles` removes what has not been used for ten days from `/tmp`, also the empty folders
of a process that still lives. It leaves a folder alone, with all that is in it, while somebody
holds a lock on it (`man tmpfiles.d`, under "Age").
"""

from __future__ import annotations

import fcntl
import os

__all__ = ["KeptFolder"]


class KeptFolder:
    """Keeps a folder until `end`, or the end of this process. It does nothing where the file system
    has no such locks, or no descriptor is left.

    Args:
        path: of the folder.
    """

    def __init__(self, path: str) -> None:
        self._fd = -1
        self._identity = (0, 0)
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._identity = _identity_of(self._fd)
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            self.end()

    def end(self) -> None:
        """Keep it no longer. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            # Code of an app may have closed it, and opened a file of its own with this number.
            if _identity_of(fd) == self._identity:
                os.close(fd)
        except OSError:
            return


def _identity_of(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
