"""`FileAnswers`: sends the server the bytes that it asks for of its host's virtual files."""

from __future__ import annotations

import asyncio
import os
import struct
from collections import deque
from collections.abc import Mapping

from mpkernel.dask_backend.connection import Connection
from mpkernel.dask_backend.messages import FileRead, ReadFile
from mpkernel.dask_backend.parts import MAX_PART_BYTES, Lane, PartKind
from mpkernel.server.launching.local_process import LocalProcess
from shm import ShmError
from shm.blocks import AttachedBlock
from shm.names import owner_of
from shm.sources import AttachedFile

__all__ = ["FILE_HEAD", "FileAnswers"]

FILE_HEAD = struct.Struct("!I")
"""What is before the bytes of a file in each part: the number of the request."""

_READ_BYTES = MAX_PART_BYTES - FILE_HEAD.size


class FileAnswers:
    """The answers to the server's requests, one part after another, when the connection has room.
    On the loop's thread.

    Args:
        connection: to the server.
        process: whose files.
        folders: the only folders in which they may lie, by the paths under which the process finds
            them. Empty: there are none, and they have the process's tag in their names.
    """

    def __init__(
        self, connection: Connection, process: LocalProcess, folders: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._process = process
        self._folders = folders
        self._requests: deque[ReadFile] = deque()
        self._reading: asyncio.Task[None] | None = None

    def answer(self, request: ReadFile) -> None:
        """Answer this request after those that came before. Returns at once."""
        self._requests.append(request)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_files())

    def stop(self) -> None:
        """Answer no more."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read_files(self) -> None:
        while self._requests:
            request = self._requests.popleft()
            error: str | None = None
            try:
                await self._read_file(request)
            except (ShmError, OSError, ValueError) as failure:  # the last: a name that cannot be
                error = str(failure)
            self._connection.tell(FileRead(request.number, error))
        self._reading = None

    async def _read_file(self, request: ReadFile) -> None:
        """Send the bytes of one request.

        Raises:
            ShmError: they cannot be read, or are not the host's.
        """
        head = FILE_HEAD.pack(request.number)
        with self._open_file(request) as file:
            for chunk in file.chunks(request.start, request.end, chunk_bytes=_READ_BYTES):
                if self._connection.is_full:
                    await self._connection.taken()
                self._connection.put(
                    Lane.FILES, PartKind.DATA, len(head) + len(chunk), head + chunk
                )

    def _open_file(self, request: ReadFile) -> AttachedBlock:
        place = request.location
        if self._folders:
            folder, name = os.path.split(place)
            if request.kind != "temp_file" or folder not in self._folders:
                raise ShmError(f"{place[:80]!r} is not in a folder of this host")
            return AttachedFile(os.path.join(self._folders[folder], name), request.size)
        name = place if request.kind == "block" else os.path.basename(os.path.dirname(place))
        if owner_of(name) != self._process.host_tag:
            raise ShmError(f"{place[:80]!r} is not of this host")
        if request.kind == "block":
            return AttachedBlock(place, request.size)
        return AttachedFile(place, request.size)
