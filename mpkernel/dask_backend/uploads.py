"""Uploads: sends the folder of an app to a worker's machine. `folder_copy` is the worker's end.

    Uploads ── of ──▶ Upload ── look ──▶ packed once, so that an error is told at once
       │                 ├───── offer ─▶ packed again if the folder has changed; its hash and size
       │                 └───── send ──▶ the archive's bytes, if the outpost asks for them
       └── keeps the archives of the folders that were packed last

Reading, hashing and packing are done on threads of their own.
"""

from __future__ import annotations

import asyncio
import functools
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from mpkernel.aio.tasks import supervised_task
from mpkernel.aio.threads import off_the_loop
from mpkernel.amounts import memory
from mpkernel.dask_backend.connection import Connection
from mpkernel.dask_backend.messages import Folder, Launch
from mpkernel.dask_backend.packing import Entry, Packed, packed
from mpkernel.dask_backend.parts import MAX_PART_BYTES, Lane, PartKind
from mpkernel.errors import ClusterError, ProtocolError
from mpkernel.logs import get_logger

__all__ = ["Upload", "Uploads"]

logger = get_logger(__name__)

_KEPT = 16
_READ_BYTES = 16 * MAX_PART_BYTES
_TOLD_EVERY_S = 1.0
_MOST_NAMED = 20


class Uploads:
    """What the processes of one launcher share: the folders that were packed last. On one loop's
    thread, except `close`.
    """

    def __init__(self) -> None:
        # By folder, while somebody packs it or waits for that.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._lock = threading.Lock()  # guards those below
        self._kept: OrderedDict[str, Packed] = OrderedDict()  # by folder
        self._is_closed = False

    def of(self, app: str, max_bytes: int) -> Upload:
        """The upload of the folder of an app, for one process.

        Args:
            app: absolute path of the app's file.
            max_bytes: how many bytes the folder may have.
        """
        return Upload(app, functools.partial(self._packed, os.path.dirname(app), max_bytes))

    def close(self) -> None:
        """Forget all archives. What is being sent is sent to its end. From any thread."""
        with self._lock:
            self._is_closed = True
            for one in self._kept.values():
                one.archive.file.close()
            self._kept.clear()

    async def _packed(self, folder: str, max_bytes: int) -> tuple[Packed, int]:
        """The folder as it is now, and a descriptor of its archive, which is the caller's.

        Raises:
            ClusterError: see `packing.packed`.
        """
        try:
            async with self._locks.setdefault(folder, asyncio.Lock()):
                return await off_the_loop(functools.partial(self._pack, folder, max_bytes))
        except ClusterError:
            raise
        except OSError as error:
            raise ClusterError(
                f"{folder} cannot be sent to a worker: {error}",
                remedy="look at the limits of this server",
            ) from error
        except Exception as error:
            logger.exception("a folder could not be packed", app=folder)
            raise ClusterError(
                f"{folder} cannot be sent to a worker: {error!r}",
                remedy="look at the server's log",
            ) from error

    def _pack(self, folder: str, max_bytes: int) -> tuple[Packed, int]:
        """Pack a folder, on a thread of its own. For one folder, only one thread packs at a
        time."""
        with self._lock:
            before = self._kept.get(folder)
            fd = os.dup(before.archive.file.fileno()) if before is not None else None
        try:
            found = packed(folder, max_bytes=max_bytes, before=before)
            if found is not before and (links := found.listing.links_left_out):
                said = ", ".join(links[:_MOST_NAMED])
                logger.warning(
                    "links that lead out of %s are not sent to workers: %s", folder, said
                )
            if fd is not None and found is before:
                kept, fd = fd, None
                return found, kept
        finally:
            if fd is not None:
                os.close(fd)
        try:
            fd = os.dup(found.archive.file.fileno())
        except OSError:
            found.archive.file.close()
            raise
        self._keep(folder, found)
        return found, fd

    def _keep(self, folder: str, found: Packed) -> None:
        over = [found]
        with self._lock:
            if not self._is_closed:
                over = [self._kept.pop(folder)] if folder in self._kept else []
                self._kept[folder] = found
                while len(self._kept) > _KEPT:
                    over.append(self._kept.popitem(last=False)[1])
        for one in over:
            one.archive.file.close()


class Upload:
    """The upload of an app's folder for one process. Made by `Uploads.of`. On the loop's thread.

    Args:
        app: absolute path of the app's file.
        pack: packs its folder.
    """

    def __init__(
        self, app: str, pack: Callable[[], Coroutine[Any, Any, tuple[Packed, int]]]
    ) -> None:
        self._app = app
        self._pack = pack
        self._fd: int | None = None  # of the archive, until it is sent or need not be
        self._size = 0
        self._sent: tuple[int, int] | None = None  # size and time of the app's file
        self._is_closed = False

    async def look(self) -> None:
        """Pack the folder, if that was not done before: what is wrong with it is told before a
        worker is asked for.

        Raises:
            ClusterError: it cannot be sent, and why.
        """
        found, fd = await self._pack()
        os.close(fd)
        self._entry_of_app(found)

    def offer(
        self, connection: Connection, order: Launch, refuse: Callable[[ClusterError], None]
    ) -> None:
        """Have an outpost launch the app from a copy of its folder as it is now. Returns at once.

        Args:
            connection: to the outpost.
            order: what it is told, but for the folder.
            refuse: called if the folder cannot be sent.
        """
        supervised_task(self._offer(connection, order, refuse), name="mpkernel.pack")

    def send(self, connection: Connection, say: Callable[[str], None]) -> None:
        """The outpost has no copy: send it the archive. Returns at once.

        Args:
            connection: to the outpost.
            say: called with how far that is, in words.

        Raises:
            ProtocolError: no folder was offered, or it was sent before.
        """
        fd, self._fd = self._fd, None
        if fd is None:
            raise ProtocolError("a folder is asked for that is not offered")
        supervised_task(self._send(connection, fd, say), name="mpkernel.upload")

    @property
    def is_outdated(self) -> bool:
        """Whether the app's file is not what was offered."""
        if self._sent is None:
            return False
        try:
            found = os.stat(self._app)
        except OSError:  # the file is being replaced, or is gone: only the copy is left
            return False
        return (found.st_size, found.st_mtime_ns) != self._sent

    def close(self) -> None:
        """Stop sending. Idempotent."""
        self._is_closed = True
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    async def _offer(
        self, connection: Connection, order: Launch, refuse: Callable[[ClusterError], None]
    ) -> None:
        try:
            found, fd = await self._pack()
        except ClusterError as error:
            refuse(error)
            return
        if self._is_closed or connection.is_closed:
            os.close(fd)
            return
        self._fd, self._size = fd, found.archive.size
        try:
            entry = self._entry_of_app(found)
        except ClusterError as error:
            refuse(error)
            return
        self._sent = entry.size, entry.mtime_ns
        folder = Folder(
            digest=found.archive.digest,
            size=found.archive.size,
            name=os.path.basename(found.listing.folder) or "app",
            app=entry.path,
        )
        connection.tell(msgspec.structs.replace(order, folder=folder))

    async def _send(self, connection: Connection, fd: int, say: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        told_at, sent = loop.time(), 0
        try:
            while sent < self._size and not (self._is_closed or connection.is_closed):
                read = functools.partial(os.pread, fd, _READ_BYTES, sent)
                data = memoryview(await off_the_loop(read))
                for start in range(0, len(data), MAX_PART_BYTES):
                    if connection.is_full:
                        await connection.taken()
                    part = bytes(data[start : start + MAX_PART_BYTES])
                    connection.put(Lane.FOLDER, PartKind.DATA, len(part), part)
                sent += len(data)
                if loop.time() > told_at + _TOLD_EVERY_S and not self._is_closed:
                    told_at = loop.time()
                    say(f"sends the app's folder: {memory(sent)} of {memory(self._size)}")
        except OSError as error:
            logger.warning("the archive of a folder cannot be read: %s", error, app=self._app)
            connection.cut()
        finally:
            os.close(fd)

    def _entry_of_app(self, found: Packed) -> Entry:
        """The app's file in its folder.

        Raises:
            ClusterError: it is not among what is sent.
        """
        name = os.path.basename(self._app)
        for entry in found.listing.entries:
            if entry.path == name and not stat.S_ISDIR(entry.mode):
                return entry
        if name in found.listing.links_left_out:
            raise ClusterError(
                f"{self._app} cannot be sent to a worker: it is a link that leads out of its"
                " folder",
                remedy="put the file itself there",
            )
        raise ClusterError(f"there is no file {self._app} to send to a worker")
