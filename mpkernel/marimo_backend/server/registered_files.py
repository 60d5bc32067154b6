"""marimo's virtual files in the server: reading them from the pool's registry.

marimo keeps one storage per process and asks it by name. Requests of pages do not come here:
`file_answers` answers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from shm import Registry

__all__ = ["EMPTY_FILE", "FILE_ROUTE", "RegisteredFiles", "file_name_in"]

FILE_ROUTE = "/@file/"
EMPTY_FILE = "empty.txt"
"""A file that marimo itself has."""


def file_name_in(scope: Any) -> str | None:
    """The name of the virtual file that an HTTP request is for; None for any other request."""
    _, route, requested = scope["path"].rpartition(FILE_ROUTE)
    name: str = requested.partition("-")[2]
    return name if route and name != EMPTY_FILE else None


class RegisteredFiles:
    """marimo's `VirtualFileStorage` for the server: reads the files that hosts have announced.

    Args:
        registry: the pool's registry.
    """

    stale = False

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def read(self, key: str, byte_length: int) -> bytes:
        with self._registry.lease(key) as entry:
            return b"".join(entry.chunks(0, byte_length))

    def read_chunked(
        self, key: str, byte_length: int, chunk_size: int = 256 * 1024, start: int = 0
    ) -> Iterator[bytes]:
        """Bytes of an announced file, never past its end.

        Raises:
            KeyError: no host announced such a file.
        """
        with self._registry.lease(key) as entry:
            yield from entry.chunks(start, byte_length, chunk_bytes=chunk_size)

    def has(self, key: str) -> bool:
        return key in self._registry

    def store(self, key: str, buffer: bytes) -> Any:
        raise NotImplementedError("the server stores no virtual files")

    def remove(self, key: str) -> Any:
        raise NotImplementedError("only its host removes a virtual file")

    def shutdown(self, keys: Iterable[str] | None = None) -> None:
        """Does nothing: the files belong to their hosts."""
