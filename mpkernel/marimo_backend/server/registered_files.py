"""marimo's virtual files in the server: reading them from the pool's registry.

marimo keeps one storage per process and asks it by name. A request opens its file with `opened`,
from the check of its name until its last byte: the process that made it may end meanwhile. What
marimo then wants to read is only noted, and `file_answers` sends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Any

from shm import Entry, Reader, Registry

__all__ = ["EMPTY_FILE", "FILE_ROUTE", "OpenFile", "RegisteredFiles", "file_name_in", "opened"]

FILE_ROUTE = "/@file/"
EMPTY_FILE = "empty.txt"
"""A file that marimo itself has."""


class OpenFile:
    """The file of one request.

    Attributes:
        entry: the file, as it is registered.
        reader: its bytes.
        wanted: the range of bytes that marimo answers with (from, up to but not including); None
            until marimo has said so.
    """

    def __init__(self, entry: Entry, reader: Reader) -> None:
        self.entry = entry
        self.reader = reader
        self.wanted: tuple[int, int] | None = None


_opened: ContextVar[OpenFile | None] = ContextVar("mpkernel_opened_file", default=None)


def file_name_in(scope: Any) -> str | None:
    """The name of the virtual file that an HTTP request is for; None for any other request."""
    _, route, requested = scope["path"].rpartition(FILE_ROUTE)
    name: str = requested.partition("-")[2]
    return name if route and name != EMPTY_FILE else None


@contextmanager
def opened(registry: Registry, key: str) -> Iterator[OpenFile]:
    """Keep a file open for the current task and the threads that it calls.

    Raises:
        KeyError: no host announced such a file.
        BlockNotFound: the host that announced it is gone.
        Unavailable: there is no descriptor left to open it.
    """
    with registry.lease(key) as entry, closing(entry.open()) as reader:
        file = OpenFile(entry, reader)
        token = _opened.set(file)
        try:
            yield file
        finally:
            _opened.reset(token)


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
        """Bytes of an announced file, never past its end. For the request that has opened the file,
        nothing is returned: its range is only noted.

        Raises:
            KeyError: no host announced such a file.
        """
        opened = _opened.get()
        if opened is not None and opened.entry.key == key:
            start = max(0, start)
            opened.wanted = (start, start + byte_length)
            return
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
