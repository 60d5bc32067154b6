"""The archives of folders that a worker keeps, so that each is sent once and not for each process.

    <temporary folder>/mpk-<the worker's process>-folders/    0700
        <hash>          an archive. Locked (shared) by each outpost whose app runs from it
        <hash>.lock     locked by the outpost that receives it

The folder's name says which worker it belongs to, as the names of blocks do: what dead workers left
is removed by whoever sweeps next.

Workers of one machine and user share archives by hard links. If several need one at the same
moment, one receives it: it holds the locks of all, which each takes in the order of their paths. A
lock ends with the process that holds it, and then the next one receives. Whoever finds that the one
that receives makes no progress (it may be stopped) receives the archive, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from mpkernel.private_files import check_private, make_private
from shm.names import next_name, own_tag, owner_of

__all__ = ["KEPT_S", "KeptArchives", "Receiving", "folder_of_worker"]

logger = logging.getLogger(__name__)

KEPT_S = 600.0
"""How long an archive is kept that no process runs from."""

_NAME = "folders"
_SILENCE_S = 10.0
"""A process that has received nothing for so long is not waited for."""


def folder_of_worker() -> str:
    """Where the calling process, which is a worker, keeps archives. It need not exist.

    Raises:
        OSError: there is no folder for temporary files.
    """
    return os.path.join(tempfile.gettempdir(), f"{own_tag().prefix}{_NAME}")


class KeptArchives:
    """Those of one worker. Blocks: not for the thread of a loop, except `receive`.

    Args:
        folder: see `folder_of_worker`.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def find(self, digest: str, size: int) -> int | None:
        """A descriptor of this archive, which keeps it from being removed; None if it is not here.

        Args:
            digest: its hash.
            size: its size in bytes.

        Raises:
            OSError: the folder cannot be used.
        """
        make_private(self._folder)
        own = self._folder / digest
        if not own.exists():
            self._link_from_another(own)
        try:
            fd = os.open(own, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if os.fstat(fd).st_size != size:  # only its user can have changed it
            os.close(fd)
            os.unlink(own)
            return None
        fcntl.flock(fd, fcntl.LOCK_SH)
        os.utime(fd)
        return fd

    def lock(self, digest: str) -> list[int] | None:
        """The locks under which this archive is received: descriptors, which the caller closes.
        None while another process of this machine receives it. Empty if that one makes no progress:
        the archive is then received without them, which costs only time.

        Args:
            digest: its hash.

        Raises:
            OSError: the folder cannot be used.
        """
        own = self._folder / f"{digest}.lock"
        # It is made before the others are looked for. So of two workers, one sees both locks.
        held = [_opened_lock(own, os.O_CREAT)]
        try:
            for path in sorted([own, *self._of_others(own.name)]):
                fd = held[0]
                if path != own:
                    try:
                        fd = _opened_lock(path)
                    except FileNotFoundError:  # its worker has ended
                        continue
                    held.append(fd)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # The time of the last progress is in the future if the calendar was set back.
                    is_silent = abs(time.time() - os.fstat(fd).st_mtime) > _SILENCE_S
                    _close(held)
                    return [] if is_silent else None
                os.utime(fd)
        except BaseException:
            _close(held)
            raise
        return held

    def receive(self, digest: str, size: int, locks: Sequence[int] = ()) -> Receiving:
        """Begin to receive this archive.

        Args:
            digest: its hash.
            size: its size in bytes.
            locks: see `lock`. The caller holds them as long as it receives.

        Raises:
            OSError: there is no room, or the folder cannot be used.
        """
        return Receiving(self._folder, digest, size, locks)

    def remove_unused(self) -> None:
        """Remove archives from which no process has run for `KEPT_S`."""
        try:
            found = list(os.scandir(self._folder))
        except FileNotFoundError:
            return
        for entry in found:
            if not entry.name.endswith(".lock"):
                try:
                    _remove_if_unused(entry)
                except OSError as error:  # it was removed meanwhile
                    logger.debug("an archive that is not used is left: %s", error)

    def remove(self) -> None:
        """Remove all archives: the worker ends."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def remove_if_left(self) -> None:
        """Remove all archives if the worker has ended without removing them."""
        owner = owner_of(self._folder.name)
        if owner is not None and not owner.may_live:
            self.remove()

    def _link_from_another(self, own: Path) -> None:
        for found in self._of_others(own.name):
            try:
                if not stat.S_ISREG(os.lstat(found).st_mode):
                    continue
                os.link(found, own, follow_symlinks=False)
            except OSError as error:  # it was removed meanwhile
                logger.debug("an archive of another worker cannot be used: %s", error)
            else:
                return

    def _of_others(self, name: str) -> Iterator[Path]:
        """The files of this name that other workers of this machine and user have."""
        folder = glob.escape(str(self._folder.parent))
        for found in map(Path, glob.glob(os.path.join(folder, f"mpk-*-{_NAME}", name))):
            try:
                check_private(found.parent)
            except OSError as error:  # it was removed meanwhile, or belongs to another user
                logger.debug("the folder of another worker cannot be used: %s", error)
            else:
                if found.parent != self._folder:
                    yield found


class Receiving:
    """An archive that is being received.

    Args:
        folder: where it is kept.
        digest: its hash.
        size: its size in bytes.
        locks: those that are held meanwhile.

    Raises:
        OSError: there is no room for it.
    """

    def __init__(self, folder: Path, digest: str, size: int, locks: Sequence[int]) -> None:
        self._path = folder / digest
        self._digest = digest
        self._left = size
        self._locks = locks
        self._hash = hashlib.sha256()
        self._unfinished = folder / next_name()
        self._file = open(self._unfinished, "xb", opener=_opener)  # noqa: SIM115 (`close` does)
        try:
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), 0, size)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_whole(self) -> bool:
        """Whether all bytes have come."""
        return self._left <= 0

    def write(self, data: memoryview) -> None:
        """The next bytes.

        Raises:
            OSError: there is no room for them.
            ValueError: there are more than were announced.
        """
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("more bytes came than the archive has")
        self._hash.update(data)
        self._file.write(data)
        for fd in self._locks:  # whoever waits for one of them sees that there is progress
            os.utime(fd)

    def keep(self) -> None:
        """All bytes have come: let other processes use the archive.

        Raises:
            OSError: it cannot be kept.
            ValueError: the content is not the one that was announced.
        """
        self._file.flush()
        if self._hash.hexdigest() != self._digest:
            raise ValueError("the archive that came is not the one that was announced")
        os.replace(self._unfinished, self._path)

    def close(self) -> None:
        """Remove the archive, unless it is kept. Idempotent.

        Raises:
            OSError: there was no room for what was written last.
        """
        try:
            self._file.close()
        finally:
            with contextlib.suppress(FileNotFoundError):  # it is kept
                os.unlink(self._unfinished)


def _opened_lock(path: Path, flags: int = 0) -> int:
    return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)


def _close(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def _remove_if_unused(entry: os.DirEntry[str]) -> None:
    if entry.stat().st_mtime > time.time() - KEPT_S:
        return
    fd = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(entry.path)
        logger.info("an archive is removed that no app has used for a while: %s", entry.name)
    except BlockingIOError:  # an app runs from it
        return
    finally:
        os.close(fd)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
