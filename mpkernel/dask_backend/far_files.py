"""Virtual files of a far host: `FarFile` reads one from any thread but the loop's, in chunks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import TypeAlias

from mpkernel.aio.loops import running_loop
from mpkernel.aio.patience import patient_timeout
from mpkernel.dask_backend.connection import Connection
from mpkernel.dask_backend.file_answers import FILE_HEAD
from mpkernel.dask_backend.messages import FileRead, ReadFile
from mpkernel.errors import ProtocolError
from shm import Unavailable
from shm.errors import BlockNotFound
from shm.sources import SourceKind

__all__ = ["FarFile", "FileRequests"]

_ASKED_BYTES = 1024 * 1024
"""How much is asked for at once."""

_MOST_ASKED = 4
"""How many requests may be without an answer while what came before is used: so a long way costs
its time once, and not for each of them."""

_ANSWERED_WITHIN_S = 60.0
_END_TOLD_WITHIN_S = 3.0
"""How long after the files of a host have gone its outpost may take to tell of its end."""

Read: TypeAlias = Callable[[SourceKind, str, int, int, int], Coroutine[None, None, bytes]]


class FileRequests:
    """The requests for bytes of one host's files. On the loop's thread."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[bytearray, int, asyncio.Future[bytes]]] = {}
        self._end = ""  # how the host has ended
        self._has_ended = asyncio.Event()

    async def read(
        self,
        connection: Connection | None,
        kind: SourceKind,
        location: str,
        size: int,
        start: int,
        end: int,
    ) -> bytes:
        """Bytes of a file.

        Args:
            connection: to the outpost; None if there is none.
            kind, location, size, start, end: see `ReadFile`.

        Raises:
            BlockNotFound: they cannot be read, or do not come within 60 s.
        """
        try:
            if connection is None or connection.is_closed:
                raise BlockNotFound("there is no connection to the file's worker")
            return await self._read(connection, kind, location, size, start, end)
        except BlockNotFound as error:
            try:
                async with asyncio.timeout(_END_TOLD_WITHIN_S):
                    await self._has_ended.wait()
            except TimeoutError:
                raise error from None
            raise BlockNotFound(self._end) from error

    async def _read(
        self,
        connection: Connection,
        kind: SourceKind,
        location: str,
        size: int,
        start: int,
        end: int,
    ) -> bytes:
        number = next(self._numbers) & 0xFFFF_FFFF
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (bytearray(), end - start, future)
        try:
            connection.tell(
                ReadFile(
                    number=number, kind=kind, location=location, size=size, start=start, end=end
                )
            )
            async with patient_timeout(_ANSWERED_WITHIN_S):
                return await future
        except TimeoutError as error:
            raise BlockNotFound(
                f"{end - start:,} bytes of a file did not come within {_ANSWERED_WITHIN_S:g} s"
            ) from error
        finally:
            self._waiting.pop(number, None)

    def arrived(self, data: memoryview) -> None:
        """Bytes came on the lane of files.

        Raises:
            ProtocolError: there are more than were asked for.
        """
        if len(data) < FILE_HEAD.size:
            raise ProtocolError("bytes of a file come without the number of their request")
        waiting = self._waiting.get(FILE_HEAD.unpack_from(data)[0])
        if waiting is None:  # the reader that asked has gone
            return
        found, size, _ = waiting
        if len(found) + len(data) - FILE_HEAD.size > size:
            raise ProtocolError("more bytes of a file come than were asked for")
        found += data[FILE_HEAD.size :]

    def done(self, news: FileRead) -> None:
        """The outpost has answered a request."""
        found, size, future = self._waiting.get(news.number, (b"", 0, None))
        if future is None or future.done():
            return
        if news.error is not None or len(found) != size:
            future.set_exception(BlockNotFound(news.error or "a file was cut short"))
        else:
            future.set_result(bytes(found))

    def ended(self, how: str) -> None:
        """The host has ended. What can be read of its files until the end of the connection is
        still read.

        Args:
            how: in words, for whoever reads on.
        """
        self._end = how
        self._has_ended.set()

    def lost(self) -> None:
        """The connection is lost: all requests fail."""
        self.ended(self._end or "the connection to the file's worker is lost")
        for _, _, future in self._waiting.values():
            if not future.done():
                future.set_exception(BlockNotFound(self._end))


class FarFile:
    """A file of a far host, open for reading; see `Reader`.

    Args:
        read: reads bytes of it, on the loop.
        loop: the server's.
        kind, location, size: see `Source`.
    """

    waits = True

    def __init__(
        self,
        read: Read,
        loop: asyncio.AbstractEventLoop,
        kind: SourceKind,
        location: str,
        size: int,
    ) -> None:
        self._read = read
        self._loop = loop
        self._kind = kind
        self._location = location
        self._size = size

    def chunks(self, start: int, end: int, *, chunk_bytes: int = 256 * 1024) -> Iterator[bytes]:
        """The bytes from `start` to `end`, `chunk_bytes` at a time, never past the file's end.

        Raises:
            BlockNotFound: the file cannot be read any more.
            Unavailable: this is the thread of the server's loop, which would wait for itself.
        """
        self._check_thread()
        end = min(end, self._size)
        size = max(chunk_bytes, _ASKED_BYTES)
        parts = ((at, min(at + size, end)) for at in range(start, end, size))
        coming = deque(self._ask(*part) for part in itertools.islice(parts, _MOST_ASKED))
        while coming:
            self._check_thread()  # whoever reads on may have got no thread for it
            data = coming.popleft().result()
            coming.extend(self._ask(*part) for part in itertools.islice(parts, 1))
            for at in range(0, len(data), chunk_bytes):
                yield data[at : at + chunk_bytes]

    def close(self) -> None:
        """Nothing is open."""

    def _check_thread(self) -> None:
        if running_loop() is self._loop:
            raise Unavailable(
                "this file lies on another machine, and cannot be read on the loop's thread:"
                " read it in a thread, as with asyncio.to_thread"
            )

    def _ask(self, start: int, end: int) -> concurrent.futures.Future[bytes]:
        return asyncio.run_coroutine_threadsafe(
            self._read(self._kind, self._location, self._size, start, end), self._loop
        )
