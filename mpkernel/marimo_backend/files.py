"""marimo's virtual files in both processes.

A host keeps them in marimo's own shared-memory storage and announces each on the stream Pipe,
before the output that names it. The server reads those that were announced, and no others.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from mpkernel.marimo_backend import seam
from mpkernel.wire.messages import FileRemoved, FileStored
from shm import read_chunks

if TYPE_CHECKING:
    from mpkernel.wire.messages import UpMessage

__all__ = ["AnnouncingStorage", "RegisteredFiles", "secure_filename"]

_KEY_BYTES = 16


def secure_filename(extension: str) -> str:
    """A name of 128 random bits, in 22 characters: with a slash and a short extension it fits into
    the 31 that macOS allows a block."""
    return f"{secrets.token_urlsafe(_KEY_BYTES)}.{extension}"


class AnnouncingStorage:
    """marimo's `VirtualFileStorage` for a host: its `SharedMemoryStorage`, with announcements.

    Args:
        announce: sends a message up the stream Pipe.
    """

    def __init__(self, announce: Callable[[UpMessage], None]) -> None:
        self._blocks: Any = seam.host("SharedMemoryStorage")()
        self._announce = announce
        self._owner_pid = os.getpid()
        self._keys: set[str] = set()

    @property
    def stale(self) -> bool:
        """Never: all kernels of the process share it for its whole life."""
        return False

    def store(self, key: str, buffer: bytes) -> None:
        # multiprocessing tells the tracker of a block when it is made; a host that is ended between
        # the two would leave the block for ever. The tracker takes a second word of it as one.
        block = f"/{key}"
        resource_tracker.register(block, "shared_memory")
        try:
            self._blocks.store(key, buffer)
        except BaseException:
            resource_tracker.unregister(block, "shared_memory")
            raise
        self._keys.add(key)
        self._announce(FileStored(key, len(buffer)))

    def read(self, key: str, byte_length: int) -> bytes:
        return self._blocks.read(key, byte_length)  # type: ignore[no-any-return]

    def read_chunked(self, key: str, *arguments: Any, **named: Any) -> Iterator[bytes]:
        return self._blocks.read_chunked(key, *arguments, **named)  # type: ignore[no-any-return]

    def remove(self, key: str) -> None:
        if os.getpid() != self._owner_pid or key not in self._keys:
            return  # a fork of user code leaves its parent's files alone
        self._keys.discard(key)
        self._blocks.remove(key)
        self._announce(FileRemoved(key))

    def shutdown(self, keys: Iterable[str] | None = None) -> None:
        """Remove these files; without `keys`, all of them."""
        for key in list(self._keys if keys is None else keys):
            self.remove(key)

    def has(self, key: str) -> bool:
        return key in self._keys


class RegisteredFiles:
    """marimo's `VirtualFileStorage` for the server: what hosts announced, to read only.

    Args:
        size_of: the size of an announced file in bytes; None for any other name.
    """

    stale = False

    def __init__(self, size_of: Callable[[str], int | None]) -> None:
        self._size_of = size_of

    def read(self, key: str, byte_length: int) -> bytes:
        return b"".join(self.read_chunked(key, byte_length))

    def read_chunked(
        self, key: str, byte_length: int, chunk_size: int = 256 * 1024, start: int = 0
    ) -> Iterator[bytes]:
        """Bytes of an announced file, never past its end.

        Raises:
            KeyError: no host announced such a file.
        """
        size = self._size_of(key)
        if size is None:
            raise KeyError(f"Virtual file not found: {key}")
        length = max(0, min(byte_length, size - start))
        yield from read_chunks(key, length, start=start, chunk_bytes=chunk_size)

    def has(self, key: str) -> bool:
        return self._size_of(key) is not None

    def store(self, key: str, buffer: bytes) -> None:
        raise NotImplementedError("the server stores no virtual files")

    def remove(self, key: str) -> None:
        raise NotImplementedError("a virtual file is its host's to remove")

    def shutdown(self, keys: Iterable[str] | None = None) -> None:
        """Nothing: the files are their hosts'."""
