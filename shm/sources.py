"""Where the bytes of a virtual file can lie: in a block, in a temporary file, in this process."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final

from shm.blocks import AttachedBlock, Block, raise_if_out_of_descriptors, read_chunks
from shm.errors import BlockNotFound
from shm.recycler import Recycler

__all__ = ["BlockSource", "BytesSource", "TempFileSource", "AttachedFile", "read_file_chunks"]

_CHUNK_BYTES = 256 * 1024


class BlockSource:
    """A block of this process's, to be used again when it is free.

    Attributes:
        block: it.
    """

    __slots__ = ("_recycler", "block")

    kind: Final = "block"

    def __init__(self, block: Block, recycler: Recycler) -> None:
        self.block = block
        self._recycler = recycler

    @property
    def location(self) -> str:
        return self.block.name

    def chunks(
        self, size: int, start: int, end: int, *, chunk_bytes: int = _CHUNK_BYTES
    ) -> Iterator[bytes]:
        return read_chunks(self.block.name, size, start, end, chunk_bytes=chunk_bytes)

    def released(self) -> None:
        """Nothing: the bytes stay for those that read them."""

    def free(self) -> None:
        self._recycler.give_back(self.block)


class TempFileSource:
    """A temporary file of this process's.

    Attributes:
        location: its absolute path.
    """

    __slots__ = ("_maker_pid", "location")

    kind: Final = "temp_file"

    def __init__(self, path: str) -> None:
        self.location = path
        self._maker_pid = os.getpid()

    def chunks(
        self, size: int, start: int, end: int, *, chunk_bytes: int = _CHUNK_BYTES
    ) -> Iterator[bytes]:
        return read_file_chunks(self.location, size, start, end, chunk_bytes=chunk_bytes)

    def released(self) -> None:
        """Nothing: the bytes stay for those that read them."""

    def free(self) -> None:
        if os.getpid() != self._maker_pid:
            return
        try:
            os.unlink(self.location)
        except FileNotFoundError:  # somebody cleans temporary files up; it is gone, as it should
            return


class BytesSource:
    """Bytes in this process."""

    __slots__ = ("_data",)

    kind: Final = "memory"
    location: Final = ""

    def __init__(self, data: memoryview) -> None:
        self._data = bytes(data)

    def chunks(
        self, size: int, start: int, end: int, *, chunk_bytes: int = _CHUNK_BYTES
    ) -> Iterator[bytes]:
        data = self._data
        for position in range(start, end, chunk_bytes):
            yield data[position : min(position + chunk_bytes, end)]

    def released(self) -> None:
        """Nothing: the bytes stay for those that read them."""

    def free(self) -> None:
        self._data = b""


class AttachedFile(AttachedBlock):
    """A temporary file of this user's, open for reading; stays readable when it is removed.

    Args:
        name: its path.
        size: how many bytes of it may be read.

    Raises:
        BlockNotFound: there is no such file of this user's, or it is shorter than `size`.
        Unavailable: no descriptor is left to open it.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        try:
            self._fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise_if_out_of_descriptors(error)
            raise BlockNotFound(f"no temporary file {name!r}: {error}") from error
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise BlockNotFound(f"{name!r} is no temporary file of this user's")
            if status.st_size < size:
                raise BlockNotFound(f"temporary file {name!r} is shorter than {size} bytes")
        except BaseException:
            self.close()
            raise


def read_file_chunks(
    path: str, size: int, start: int, end: int, *, chunk_bytes: int = _CHUNK_BYTES
) -> Iterator[bytes]:
    """The bytes of a temporary file from `start` to `end`, opened with the first chunk.

    Raises:
        BlockNotFound, Unavailable: as `AttachedFile`.
    """
    with AttachedFile(path, size) as file:
        yield from file.chunks(start, end, chunk_bytes=chunk_bytes)
