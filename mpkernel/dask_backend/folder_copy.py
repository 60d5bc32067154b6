"""`FolderCopy`: receives the folder of an app at the outpost, and makes a copy of it for the host.
`uploads` is the server's end.

    make ─▶ KeptArchives: is it here? ── no ──▶ SendFolder ─▶ bytes ─▶ kept for the next process
                  └───────────── yes ─────────▶ unpacked into a folder of this process's own

Each process has a copy for itself: apps may write beside their file. It is removed with the
process.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
import tempfile
import threading

from mpkernel.aio.threads import off_the_loop
from mpkernel.dask_backend.connection import Connection
from mpkernel.dask_backend.kept_archives import KeptArchives, Receiving
from mpkernel.dask_backend.messages import Folder, SendFolder
from mpkernel.dask_backend.unpacking import remove_copy, unpacked
from mpkernel.errors import HostStartError, ProtocolError

__all__ = ["FolderCopy"]

logger = logging.getLogger(__name__)

_LOOK_S = 0.05
_WORKER_ENDS_WITHIN_S = 0.5


class FolderCopy:
    """The copy for the host of an outpost. On the loop's thread.

    Args:
        kept: where the worker keeps archives.
    """

    def __init__(self, kept: str) -> None:
        self._kept = KeptArchives(kept)
        self._archive: int | None = None  # locked as long as the copy exists
        self._own: str | None = None
        self._receiving: Receiving | None = None
        self._failure: OSError | ValueError | None = None
        self._arrived = asyncio.Event()  # all has come, or receiving failed, or `stop`
        self._over = threading.Event()

    async def make(self, folder: Folder, connection: Connection) -> str | None:
        """Make a new copy. Returns the path of the app's file in it; None if `stop` was called
        meanwhile.

        Args:
            folder: what is copied.
            connection: to the server, which sends it if it is not here.

        Raises:
            HostStartError: it cannot be copied, and why.
        """
        try:
            self._archive = await self._found(folder, connection)
            if self._archive is None:
                return None
            unpack = functools.partial(unpacked, self._archive, folder.name, self._over.is_set)
            self._own = await off_the_loop(unpack)
        except (OSError, ValueError) as error:
            raise HostStartError(
                f"the folder of {folder.app} cannot be copied to {socket.gethostname()}: {error}",
                remedy=f"make room in {_temporary()} there, or start the worker with TMPDIR set to"
                " a folder that has more",
            ) from error
        return None if self._over.is_set() else os.path.join(self._own, folder.name, folder.app)

    def take(self, data: memoryview) -> None:
        """The next bytes of the archive have come.

        Raises:
            ProtocolError: they were not asked for.
        """
        if self._failure is not None:  # what follows was sent before the server knew
            return
        if self._receiving is None or self._arrived.is_set():
            raise ProtocolError("bytes of a folder come that were not asked for")
        try:
            self._receiving.write(data)
        except (OSError, ValueError) as error:
            self._failure = error
        if self._failure is not None or self._receiving.is_whole:
            self._arrived.set()

    def stop(self) -> None:
        """Have `make` return soon."""
        self._over.set()
        self._arrived.set()

    async def remove(self, ending_worker: int | None) -> None:
        """Remove the copy. If the worker has ended and left its archives, remove these, too. `make`
        must have returned.

        Args:
            ending_worker: the process id of the worker, if it may be about to end.
        """
        if self._own is not None:
            try:
                await off_the_loop(functools.partial(remove_copy, self._own))
            except OSError as error:
                logger.warning("the copy of an app's folder is left: %s", error)
        if self._archive is not None:
            os.utime(self._archive)
            os.close(self._archive)
            self._archive = None
        deadline_s = asyncio.get_running_loop().time() + _WORKER_ENDS_WITHIN_S
        while os.getppid() == ending_worker and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.sleep(_LOOK_S)
        await off_the_loop(self._kept.remove_if_left)

    async def _found(self, folder: Folder, connection: Connection) -> int | None:
        """A descriptor of the archive, received if need be; None if `stop` was called.

        Raises:
            OSError, ValueError: it cannot be kept here.
        """
        find = functools.partial(self._kept.find, folder.digest, folder.size)
        lock = functools.partial(self._kept.lock, folder.digest)
        locks: list[int] | None = None
        try:
            while (found := await off_the_loop(find)) is None and not self._over.is_set():
                if locks is not None:
                    await self._receive(folder, connection, locks)
                    continue
                locks = await off_the_loop(lock)
                if locks is None:  # another process receives the same
                    await asyncio.sleep(_LOOK_S)
            return found
        finally:
            for fd in locks or ():
                os.close(fd)

    async def _receive(self, folder: Folder, connection: Connection, locks: list[int]) -> None:
        with self._kept.receive(folder.digest, folder.size, locks) as self._receiving:
            connection.tell(SendFolder())
            await self._arrived.wait()
            if self._failure is not None:
                raise self._failure
            if not self._over.is_set():
                await off_the_loop(self._receiving.keep)


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "/tmp"
