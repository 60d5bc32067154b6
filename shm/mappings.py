"""Read-only mappings of blocks that are used again and again. The reader of the blocks keeps them.

Reading a large file through a mapping that exists is twice as fast as `pread`. But to make a
mapping for one file costs more than it saves. So a block is mapped when the second file lies in it,
and its mapping ends some time after the last file.

If the maker of a block cuts it short, a reader that has it mapped gets a SIGBUS, which ends its
process. Therefore the length is asked for before each chunk. Only a maker that cuts the block
within the following microseconds, on purpose, can still end the reader. Such a maker runs as the
same user, and could end the reader by simpler means.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterator

from shm.blocks import CHUNK_BYTES, AttachedBlock
from shm.errors import BlockNotFound

__all__ = ["Mappings"]

_MIB = 1024 * 1024
_MOST_NOTED = 4096


class _Used:
    """How a block was used: how many files lay in it, when the last one came, its mapping."""

    __slots__ = ("at", "mapping", "times")

    def __init__(self) -> None:
        self.times = 0
        self.at = 0.0
        self.mapping: mmap.mmap | None = None


class Mappings:
    """The mappings of one reader. One thread calls `note` and `expire`; any thread may call the
    rest.

    A mapping is never closed, because a thread may be reading through it. Only the reference to it
    is dropped: the mapping ends with its last reference.

    Args:
        max_bytes: how much may be mapped. Default 256 MiB.
        max_mapped: how many blocks, each with a descriptor. Default 64.
        max_age_s: how long a mapping stays after its block's last file. Default 30.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        max_bytes: int = 256 * _MIB,
        max_mapped: int = 64,
        max_age_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_mapped = max_mapped
        self._max_age_s = max_age_s
        self._clock = clock
        self._blocks: dict[str, _Used] = {}  # in the order of their last use

    @property
    def mapped_bytes(self) -> int:
        """How much is mapped now."""
        return sum(len(used.mapping) for used in list(self._blocks.values()) if used.mapping)

    def note(self, name: str) -> None:
        """Say that a new file lies in the block of this name."""
        used = self._blocks.pop(name, None) or _Used()
        used.times += 1
        used.at = self._clock()
        self._blocks[name] = used
        if len(self._blocks) > _MOST_NOTED:
            del self._blocks[next(iter(self._blocks))]

    def expire(self) -> float | None:
        """Drop the mappings of blocks that had no new file for `max_age_s`. Returns the seconds
        until the next one is due; None when there is none."""
        deadline = self._clock() - self._max_age_s
        for name, used in list(self._blocks.items()):
            if used.at > deadline:
                return used.at - deadline
            del self._blocks[name]
        return None

    def clear(self) -> None:
        """Drop all mappings."""
        self._blocks.clear()

    def open(self, name: str, size: int) -> AttachedBlock:
        """Open a block. It is read through a mapping if two files or more have lain in it.

        Raises:
            BlockNotFound, Unavailable: as `AttachedBlock`.
        """
        return _MappedBlock(name, size, self._mapping)

    def _mapping(self, block: AttachedBlock) -> mmap.mmap | None:
        used = self._blocks.get(block.name)
        if used is None or used.times < 2:
            return None
        if used.mapping is None:
            used.mapping = self._map(block)
        return used.mapping if used.mapping and len(used.mapping) >= block.size else None

    def _map(self, block: AttachedBlock) -> mmap.mmap | None:
        mapped = [used.mapping for used in list(self._blocks.values()) if used.mapping is not None]
        if len(mapped) >= self._max_mapped or sum(map(len, mapped)) + block.size > self._max_bytes:
            return None
        return block.map()


class _MappedBlock(AttachedBlock):
    def __init__(
        self, name: str, size: int, mapping: Callable[[AttachedBlock], mmap.mmap | None]
    ) -> None:
        super().__init__(name, size)
        self._mapping = mapping

    def chunks(
        self, start: int = 0, end: int | None = None, *, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[bytes]:
        mapping = self._mapping(self)
        if mapping is None:
            yield from super().chunks(start, end, chunk_bytes=chunk_bytes)
            return
        end = self.size if end is None else min(end, self.size)
        while start < end:
            if mapping.size() < end:
                raise BlockNotFound(f"{self._what} {self.name!r} was cut short at {start} bytes")
            chunk = mapping[start : min(start + chunk_bytes, end)]
            start += len(chunk)
            yield chunk
