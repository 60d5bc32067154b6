"""The folders of a confined process, which its server makes and removes: the process may not make
any beside others' folders, nor remove its own.

Their names say which process they are for, as the names of blocks do: so they are also removed by
the next server, if this one is killed.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import NamedTuple, Self

from mpkernel.settings import Settings
from shm.names import tag_of

__all__ = ["PrivateFolders"]

_SHARED_MEMORY = "/dev/shm"


class PrivateFolders(NamedTuple):
    """Two folders (mode 0700) of one process.

    Attributes:
        home: for temporary files, caches and settings.
        files: for virtual files, in memory if they are to lie in shared memory and that is a file
            system here. None if there are to be none.
    """

    home: str
    files: str | None

    @classmethod
    def make(cls, pid: int, settings: Settings) -> Self:
        """Make those of a process that was launched.

        Args:
            pid: its process id.
            settings: the app's.

        Raises:
            OSError: they cannot be made.
        """
        prefix = tag_of(pid).prefix
        home = tempfile.mkdtemp(prefix=prefix)
        if settings.file_storage is None:
            return cls(home, None)
        if settings.file_storage == "shared_memory":
            try:
                return cls(home, tempfile.mkdtemp(prefix=prefix, dir=_SHARED_MEMORY))
            except OSError:
                if settings.file_fallback is None:
                    raise
        return cls(home, tempfile.mkdtemp(prefix=prefix))

    def remove(self) -> None:
        """Remove both, with all that they hold. Idempotent."""
        for folder in filter(None, self):
            shutil.rmtree(folder, ignore_errors=True)
