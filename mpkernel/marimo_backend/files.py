"""marimo's virtual files in both processes.

marimo keeps one storage per process and asks it by name. In a host that storage becomes the calling
session's (`SessionFiles`), so that each file has an owner; in the server it becomes the pool's
registry, to read only. A request has its file open from the first look at its name until its last
byte, through `opened`: the process that made it may end meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Any

from mpkernel.host.files import SessionFiles
from mpkernel.marimo_backend import seam
from shm import Entry, Reader, Registry, new_key

__all__ = ["RegisteredFiles", "bind_thread", "opened", "store_by_session"]

_opened: ContextVar[tuple[str, Reader] | None] = ContextVar("mpkernel_opened_file", default=None)
_bound = threading.local()


def store_by_session() -> None:
    """Have marimo's kernels of this process keep their files in the storage of their session, under
    unguessable names."""
    seam.replace_storage_manager(_session_files)
    seam.replace_random_filename(new_key)


def bind_thread(files: SessionFiles) -> None:
    """Have the kernel that starts on the calling thread keep its files there. marimo asks when it
    makes the kernel's registry of files (and that of an embedded app): later calls come from any
    thread, through that registry."""
    _bound.files = files


def _session_files() -> SessionFiles | None:
    files: SessionFiles | None = getattr(_bound, "files", None)
    return files if files is not None and files.enabled else None


@contextmanager
def opened(registry: Registry, key: str) -> Iterator[Entry]:
    """Have a file open for the current task and the threads that it asks.

    Raises:
        KeyError: no host announced such a file.
        BlockNotFound: the host that did is gone.
        Unavailable: no descriptor is left to open it.
    """
    with registry.lease(key) as entry, closing(entry.open()) as reader:
        token = _opened.set((key, reader))
        try:
            yield entry
        finally:
            _opened.reset(token)


class RegisteredFiles:
    """marimo's `VirtualFileStorage` for the server: what hosts announced, to read only.

    Args:
        registry: the pool's.
    """

    stale = False

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def read(self, key: str, byte_length: int) -> bytes:
        return b"".join(self.read_chunked(key, byte_length))

    def read_chunked(
        self, key: str, byte_length: int, chunk_size: int = 256 * 1024, start: int = 0
    ) -> Iterator[bytes]:
        """Bytes of an announced file, never past its end.

        Raises:
            KeyError: no host announced such a file.
        """
        opened = _opened.get()
        if opened is not None and opened[0] == key:
            start = max(0, start)
            yield from opened[1].chunks(start, start + byte_length, chunk_bytes=chunk_size)
            return
        with self._registry.lease(key) as entry:
            yield from entry.chunks(start, byte_length, chunk_bytes=chunk_size)

    def has(self, key: str) -> bool:
        return key in self._registry

    def store(self, key: str, buffer: bytes) -> Any:
        raise NotImplementedError("the server stores no virtual files")

    def remove(self, key: str) -> Any:
        raise NotImplementedError("a virtual file is its host's to remove")

    def shutdown(self, keys: Iterable[str] | None = None) -> None:
        """Nothing: the files are their hosts'."""
