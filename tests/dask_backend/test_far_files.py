"""A file of a far host, which only other threads than the loop's can wait for."""

from __future__ import annotations

import asyncio

import pytest

from mpkernel.dask_backend.far_files import FarFile
from shm import Unavailable
from shm.sources import SourceKind

SIZE = 4 * 1024 * 1024


async def zeros(_kind: SourceKind, _location: str, _size: int, start: int, end: int) -> bytes:
    return bytes(end - start)


async def test_a_file_that_was_begun_on_a_thread_is_not_waited_for_on_the_loops_own() -> None:
    file = FarFile(zeros, asyncio.get_running_loop(), "block", "mpk-1", SIZE)
    chunks = file.chunks(0, SIZE, chunk_bytes=SIZE // 4)
    assert len(await asyncio.to_thread(next, chunks)) == SIZE // 4
    with pytest.raises(Unavailable, match="read it in a thread"):
        next(chunks)
