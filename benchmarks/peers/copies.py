"""Virtual files with nothing around them: a copy into a block that is mapped already, a message
that it is there, and a copy out of it in pieces."""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory

__all__ = ["rate_of_copies"]

_PIECE_BYTES = 128 * 1024


def rate_of_copies(size: int, count: int) -> float:
    """GB/s, both ways, of one block that is written and read so many times."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    block = SharedMemory(create=True, size=size)
    process = context.Process(target=_write, args=(theirs, block.name, size), daemon=True)
    process.start()
    theirs.close()
    view = block.buf[:size]
    try:
        for number in range(count + 3):
            if number == 3:  # both ends have mapped all its pages
                began = time.perf_counter()
            pipe.send_bytes(b"write")
            pipe.recv_bytes()
            for begin in range(0, size, _PIECE_BYTES):
                bytes(view[begin : begin + _PIECE_BYTES])
        return count * size / (time.perf_counter() - began) / 1e9
    finally:
        view.release()
        pipe.close()
        process.join()
        block.close()
        block.unlink()


def _write(pipe: Connection, name: str, size: int) -> None:
    block = SharedMemory(name)
    content = os.urandom(size)
    try:
        while True:
            pipe.recv_bytes()
            block.buf[:size] = content
            pipe.send_bytes(b"written")
    except EOFError:
        block.close()
