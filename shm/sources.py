"""Where the bytes of a virtual file can lie: in a block of shared memory, in a temporary file, or
in the memory of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, Literal, Protocol, TypeAlias

from shm.blocks import CHUNK_BYTES, AttachedBlock, Block
from shm.recycler import Recycler

__all__ = [
    "AttachedFile",
    "BlockSource",
    "BytesSource",
    "Reader",
    "Source",
    "SourceKind",
    "TempFileSource",
]

SourceKind: TypeAlias = Literal["block", "temp_file", "memory"]


class Reader(Protocol):
    """A file's bytes, open for reading. They stay readable when the name of the block or file is
    removed.

    Attributes:
        waits: whether reading may wait for a disk, or for another machine. Such a file is not to be
            read on a loop's thread.
    """

    waits: bool

    def chunks(self, start: int, end: int, *, chunk_bytes: int = ...) -> Iterator[bytes]:
        """The bytes from `start` to `end`, `chunk_bytes` at a time, never past the file's end.

        Raises:
            BlockNotFound: the block or file was cut short.
        """
        ...

    def close(self) -> None:
        """Close what was opened. Idempotent."""
        ...


class Source(Protocol):
    """Where a file's bytes lie."""

    @property
    def kind(self) -> SourceKind:
        """What holds them."""
        ...

    @property
    def location(self) -> str:
        """The name of a block, the path of a temporary file; empty for what only this process
        can read."""
        ...

    def open(self, size: int) -> Reader:
        """Open the bytes of a file of this size.

        Raises:
            BlockNotFound: the bytes are gone.
            Unavailable: no descriptor is left to open them.
        """
        ...

    def released(self) -> None:
        """Called once, before `free`: the file has ended. Those that read it may still do so."""
        ...

    def free(self) -> None:
        """Called once: nobody needs the bytes any more."""
        ...


class BlockSource:
    """Bytes in a block of this process. When they are freed, the block can be used again.

    Attributes:
        block: the block.
    """

    __slots__ = ("_recycler", "block")

    kind: Final = "block"

    def __init__(self, block: Block, recycler: Recycler) -> None:
        self.block = block
        self._recycler = recycler

    @property
    def location(self) -> str:
        return self.block.name

    def open(self, size: int) -> Reader:
        return AttachedBlock(self.block.name, size)

    def released(self) -> None:
        """Nothing: the bytes stay for those that read them."""

    def free(self) -> None:
        self._recycler.give_back(self.block)


class TempFileSource:
    """Bytes in a temporary file of this process.

    Attributes:
        location: its absolute path.
    """

    __slots__ = ("_maker_pid", "location")

    kind: Final = "temp_file"

    def __init__(self, path: str) -> None:
        self.location = path
        self._maker_pid = os.getpid()

    def open(self, size: int) -> Reader:
        return AttachedFile(self.location, size)

    def released(self) -> None:
        """Nothing: the bytes stay for those that read them."""

    def free(self) -> None:
        if os.getpid() != self._maker_pid:
            return
        try:
            os.unlink(self.location)
        except FileNotFoundError:  # another program that cleans temporary files up has removed it
            return


class BytesSource:
    """Bytes in the memory of this process."""

    __slots__ = ("_data",)

    kind: Final = "memory"
    location: Final = ""

    def __init__(self, data: memoryview) -> None:
        self._data = bytes(data)

    def open(self, size: int) -> Reader:
        return _BytesReader(self._data[:size])

    def released(self) -> None:
        """Nothing: the bytes stay for those that read them."""

    def free(self) -> None:
        self._data = b""


class _BytesReader:
    waits = False

    def __init__(self, data: bytes) -> None:
        self._data = data

    def chunks(self, start: int, end: int, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        end = min(end, len(self._data))
        for position in range(start, end, chunk_bytes):
            yield self._data[position : min(position + chunk_bytes, end)]

    def close(self) -> None:
        """Nothing is open."""


class AttachedFile(AttachedBlock):
    """A temporary file of this user, open for reading. It stays readable when it is removed.

    Args:
        name: its path.
        size: how many bytes of it may be read.

    Raises:
        BlockNotFound: there is no such file of this user's, or it is shorter than `size`.
        Unavailable: no descriptor is left to open it.
    """

    waits = True
    _what = "temporary file"

    def _open(self) -> int:
        return os.open(self.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
