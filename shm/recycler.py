"""Blocks that are free, kept by size class to be used again.

Making the pages of a new block costs more than all other work on the block: a thread writes 1 GB/s
through page faults, but 14 GB/s and more into pages that exist. So a freed block is kept for a
while, for the next file of its size class. The recycler does not know who else reads a block: the
caller gives a block back when nobody reads it any more.

Nothing here takes a lock. The garbage collector may run a `__del__` that calls `give_back` while
the same thread is in the middle of `take`. Every step is a single operation on a `deque` or a
`dict`, which the interpreter does not interrupt.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from shm.blocks import Block
from shm.errors import NoSpace, Unavailable

__all__ = ["Recycler", "size_class"]

_PAGE_BYTES = 4096
_MIB = 1024 * 1024


def size_class(size: int) -> int:
    """The capacity of blocks for files of `size` bytes, in whole pages. From one power of two to
    the next there are four capacities, so that at most a fifth of a large block is unused."""
    size = max(1, size)
    step = max(_PAGE_BYTES, 1 << max(0, (size - 1).bit_length() - 3))
    return -(-size // step) * step


class _Free(NamedTuple):
    block: Block
    since: float


class Recycler:
    """Hands out blocks, new ones or used ones. Safe from any thread and from `__del__`.

    Args:
        max_bytes: how many bytes of free blocks are kept to be used again. Default 64 MiB; 0: none,
            each is unlinked at once.
        max_age_s: how long a free block is kept. Default 30.
        max_mapped: how many blocks are kept mapped, each with a descriptor. Default 64.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        max_bytes: int = 64 * _MIB,
        max_age_s: float = 30.0,
        max_mapped: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self._max_mapped = max_mapped
        self._clock = clock
        self._free: dict[int, deque[_Free]] = {}
        self._blocks: dict[str, Block] = {}  # all that exist, free or in use
        self._out: dict[str, Block] = {}  # those in use
        self._owner_pid = os.getpid()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing can be taken any more."""
        return self._closed

    @property
    def free_blocks(self) -> int:
        """How many free blocks are kept."""
        return sum(len(free) for free in list(self._free.values()))

    @property
    def free_bytes(self) -> int:
        """How many bytes the free blocks hold."""
        return sum(capacity * len(free) for capacity, free in list(self._free.items()))

    @property
    def blocks(self) -> int:
        """How many blocks there are, free and in use."""
        return len(self._blocks)

    def take(self, size: int) -> Block:
        """A block for `size` bytes. What it holds is undefined.

        Raises:
            NoSpace: there is no memory for it, not even after all free blocks were given up.
            Unavailable: shared memory cannot be used at all, or the recycler is closed.
        """
        self._leave_parent()
        if self._closed:
            raise Unavailable("the storage is closed")
        self.expire()
        capacity = size_class(size)
        block = self._pop(capacity)
        while block is not None and not block.linked:  # somebody else removed it
            self._unlink(block)
            block = self._pop(capacity)
        if block is None:
            block = self._create(size, capacity)
        else:
            self._map(block)
        self._out[block.name] = block
        if self.closed:  # another thread closed it meanwhile
            self._unlink(block)
            raise Unavailable("the storage is closed")
        return block

    def give_back(self, block: Block) -> None:
        """Take a block back that nobody reads any more. A block that is not in use is left
        alone."""
        if os.getpid() != self._owner_pid or self._out.pop(block.name, None) is None:
            return
        if self._closed or block.capacity > self.max_bytes:
            self._blocks.pop(block.name, None)
            block.discard()
            return
        self._free.setdefault(block.capacity, deque()).append(_Free(block, self._clock()))
        while self.free_bytes > self.max_bytes and self._drop_oldest():
            pass
        if self.closed:  # another thread closed it meanwhile
            self.give_up_free()

    def expire(self) -> float | None:
        """Unlink the blocks that were free for `max_age_s`. Returns the seconds until the next one
        is due; None when no block is free."""
        deadline = self._clock() - self.max_age_s
        while (oldest := self._oldest()) is not None:
            if oldest.since > deadline:
                return oldest.since - deadline
            self._drop_oldest()
        return None

    def give_up_free(self) -> None:
        """Unlink every free block."""
        while self._drop_oldest():
            pass

    def close(self) -> None:
        """Unlink every block, also those in use. Idempotent. No block can be taken any more."""
        self._closed = True
        if os.getpid() != self._owner_pid:
            return
        self._free.clear()
        for block in list(self._blocks.values()):
            self._blocks.pop(block.name, None)
            block.unlink_name()  # its holder may be writing

    def _create(self, size: int, capacity: int) -> Block:
        try:
            block = Block.create(capacity)
        except NoSpace:
            self.give_up_free()
            # When memory is this short, ask for no more than the file's own pages.
            block = Block.create(-(-size // _PAGE_BYTES) * _PAGE_BYTES)
        self._blocks[block.name] = block
        return block

    def _map(self, block: Block) -> None:
        if not block.mapped and sum(b.mapped for b in list(self._blocks.values())) < (
            self._max_mapped
        ):
            try:
                block.map()
            except Unavailable:
                return  # the block is then written without a mapping, which is only slower

    def _pop(self, capacity: int) -> Block | None:
        try:
            return self._free[capacity].pop().block  # the newest: the processor's cache has it
        except (KeyError, IndexError):
            return None

    def _oldest(self) -> _Free | None:
        heads = []
        for free in list(self._free.values()):
            try:
                heads.append(free[0])
            except IndexError:
                continue
        return min(heads, key=lambda free: free.since, default=None)

    def _drop_oldest(self) -> bool:
        oldest = self._oldest()
        if oldest is None:
            return False
        try:
            self._free[oldest.block.capacity].remove(oldest)
        except (KeyError, ValueError, IndexError):
            return True  # another thread took it meanwhile
        self._unlink(oldest.block)
        return True

    def _unlink(self, block: Block) -> None:
        if self._blocks.pop(block.name, None) is not None:
            block.discard()

    def _leave_parent(self) -> None:
        """In a fork, forget the parent's blocks: writing to them would change the parent's
        files."""
        if os.getpid() != self._owner_pid:
            self._free, self._blocks, self._out = {}, {}, {}
            self._owner_pid = os.getpid()
