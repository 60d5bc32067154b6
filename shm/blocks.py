"""Reading a block of POSIX shared memory by name, in chunks.

`multiprocessing.shared_memory.SharedMemory(name)` is not used for it: before Python 3.13 attaching
registers the block with the reader's own resource tracker, which then removes it, or warns of it,
at the reader's exit.
"""

from __future__ import annotations

import _posixshmem
import mmap
import os
import sys
from collections.abc import Iterator

__all__ = ["BlockNotFound", "read_chunks"]

_CHUNK_BYTES = 256 * 1024
# macOS can only map its shared memory.
_CAN_PREAD = sys.platform == "linux"


class BlockNotFound(KeyError):
    """There is no block of this name, or it is shorter than it should be."""


def read_chunks(
    name: str, size: int, *, start: int = 0, chunk_bytes: int = _CHUNK_BYTES
) -> Iterator[bytes]:
    """The bytes of a block, `start` to `start + size`, a chunk at a time.

    The block is opened by the first chunk and stays readable until the last, even if it is
    unlinked meanwhile.

    Args:
        name: the block's name, without a leading slash.
        size: how many bytes to give.
        start: where to begin. Default 0.
        chunk_bytes: the largest chunk. Default 256 KiB.

    Raises:
        BlockNotFound: there is no such block, or it ends before `start + size`.
    """
    try:
        fd = _posixshmem.shm_open(f"/{name}", os.O_RDONLY, mode=0)
    except (OSError, ValueError) as error:
        raise BlockNotFound(f"no shared-memory block {name!r}: {error}") from error
    try:
        if os.fstat(fd).st_size < start + size:
            raise BlockNotFound(f"shared-memory block {name!r} ends before {start + size} bytes")
        yield from _chunks(fd, start, start + size, chunk_bytes)
    finally:
        os.close(fd)


def _chunks(fd: int, start: int, end: int, chunk_bytes: int) -> Iterator[bytes]:
    if _CAN_PREAD:
        # No mapping: a block that is cut short meanwhile is a short read here, and a SIGBUS there.
        while start < end:
            chunk = os.pread(fd, min(chunk_bytes, end - start), start)
            if not chunk:
                raise BlockNotFound(f"a shared-memory block was cut short at {start} bytes")
            yield chunk
            start += len(chunk)
        return
    with mmap.mmap(fd, end, prot=mmap.PROT_READ) as mapped:
        for position in range(start, end, chunk_bytes):
            yield mapped[position : min(position + chunk_bytes, end)]
