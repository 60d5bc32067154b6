"""Storages of virtual files: they keep bytes under a key, and free them when nobody needs them.

The caller chooses which kind. `None` means that there is no storage: files are then data URLs.

    "shared_memory"   other processes can read it; a fallback is used where it is full or missing
    "temp_file"       other processes can read it; it lies on a disk
    "in_memory"       only this process can read it

A storage is a `Registry`, which knows the files, and one or more places where bytes can be put. It
closes itself when it is garbage-collected, and when the process exits.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from shm.blocks import CHUNK_BYTES
from shm.entries import Owner, check_media_type
from shm.errors import Unavailable
from shm.recycler import Recycler
from shm.registry import Registry
from shm.sources import BlockSource, BytesSource, Source
from shm.tempdir import TempDirectory

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "DEFAULT_MEDIA_TYPE",
    "InMemoryStorage",
    "Place",
    "RegisteredStorage",
    "SharedMemoryStorage",
    "StorageKind",
    "TempFileStorage",
    "VirtualFileStorage",
    "create_storage",
    "view_of",
]

logger = logging.getLogger(__name__)

StorageKind: TypeAlias = Literal["shared_memory", "in_memory", "temp_file"]

DEFAULT_MEDIA_TYPE = "application/octet-stream"
_EXIT_PRIORITY = 10


class VirtualFileStorage(Protocol):
    """Where virtual files are kept, as notebook servers ask for it."""

    @property
    def stale(self) -> bool:
        """Whether the whole storage was shut down, and takes no more files."""
        ...

    def store(self, key: str, buffer: Buffer) -> None:
        """Keep a copy of the bytes under `key`."""
        ...

    def read(self, key: str, byte_length: int) -> bytes:
        """The first `byte_length` bytes, or all if there are fewer. `KeyError` if there is no such
        file."""
        ...

    def read_chunked(
        self, key: str, byte_length: int, chunk_size: int = CHUNK_BYTES, start: int = 0
    ) -> Iterator[bytes]:
        """`byte_length` bytes from `start`, or fewer at the end, `chunk_size` at a time. `KeyError`
        if there is no such file."""
        ...

    def remove(self, key: str) -> None:
        """Remove a file. If there is no such file, nothing is done."""
        ...

    def shutdown(self, keys: Iterable[str] | None = None) -> None:
        """Remove these files. Without `keys`: remove all files, and take no more."""
        ...

    def has(self, key: str) -> bool:
        """Whether there is such a file."""
        ...


class Place(Protocol):
    """A place where bytes can be put."""

    def put(self, data: memoryview) -> Source:
        """Keep a copy. Raises `Unavailable` (of which `NoSpace` is one) when it cannot."""
        ...

    def close(self) -> None:
        """Remove everything that is still kept."""
        ...


class BlockPlace:
    """Blocks of shared memory, used again and again."""

    def __init__(self, recycler: Recycler) -> None:
        self._recycler = recycler

    def put(self, data: memoryview) -> BlockSource:
        block = self._recycler.take(len(data))
        try:
            block.write(data)
        except BaseException:
            self._recycler.give_back(block)
            raise
        return BlockSource(block, self._recycler)

    def close(self) -> None:
        self._recycler.close()


class TempFilePlace:
    """Files in a temporary directory."""

    def __init__(self, directory: TempDirectory) -> None:
        self._directory = directory

    def put(self, data: memoryview) -> Source:
        return self._directory.write(data)

    def close(self) -> None:
        self._directory.close()


class MemoryPlace:
    """The memory of this process."""

    def put(self, data: memoryview) -> BytesSource:
        return BytesSource(data)

    def close(self) -> None:
        """Nothing: the bytes are freed with the last reference to them."""


class RegisteredStorage:
    """A `VirtualFileStorage` of registered files. Safe from any thread and from `__del__`.

    Args:
        places: where bytes are put. Where one is full or cannot be used, the next one is tried.
        registry: knows the files. When the storage is closed, all of them end. Default: a new one
            without quotas.
    """

    def __init__(self, places: Sequence[Place], registry: Registry | None = None) -> None:
        self.registry = registry if registry is not None else Registry()
        self._places = places
        self._fell_back = False
        self._closed = False
        self._end = Finalize(self, _end, (self.registry, places), exitpriority=_EXIT_PRIORITY)

    @property
    def stale(self) -> bool:
        return self._closed

    def store(
        self,
        key: str,
        buffer: Buffer,
        *,
        owner: Owner | None = None,
        media_type: str = DEFAULT_MEDIA_TYPE,
    ) -> None:
        """Keep a copy of the bytes under `key`, with one reference.

        Args:
            key: see `shm.new_key`.
            buffer: any object with bytes; not `str`.
            owner: the owner. Default: this process.
            media_type: the MIME type. Default "application/octet-stream".

        Raises:
            KeyTaken, QuotaExceeded, ValueError: see `Registry.register`.
            NoSpace: no place has space for it.
            Unavailable: the storage is closed, or cannot be used here.
            TypeError: `buffer` is not an object with bytes, or the media type is not a str.
            ValueError: the media type could not be one; see `check_media_type`.
        """
        check_media_type(media_type)
        if self._closed:
            raise Unavailable("the storage is closed")
        owner = owner if owner is not None else Owner(os.getpid())
        with view_of(buffer) as data:
            size = len(data)
            self.registry.check(key, size, owner)
            source = self._put(data)
        self._register(key, source, size, owner, media_type)
        if self.stale:  # another thread closed it meanwhile
            self.registry.release(key)
            raise Unavailable("the storage is closed")

    def read(self, key: str, byte_length: int) -> bytes:
        return b"".join(self.read_chunked(key, byte_length, max(1, byte_length)))

    def read_chunked(
        self, key: str, byte_length: int, chunk_size: int = CHUNK_BYTES, start: int = 0
    ) -> Iterator[bytes]:
        with self.registry.lease(key) as entry:
            yield from entry.chunks(start, byte_length, chunk_bytes=chunk_size)

    def remove(self, key: str) -> None:
        self.registry.release(key)

    def shutdown(self, keys: Iterable[str] | None = None) -> None:
        if keys is None:
            self.close()
            return
        for key in list(keys):
            self.remove(key)

    def has(self, key: str) -> bool:
        return key in self.registry

    def close(self) -> None:
        """Remove every file, and every block and directory. Idempotent."""
        self._closed = True
        # Not `self._end()`: that does nothing in a fork, which has files of its own.
        self._end.cancel()
        _end(self.registry, self._places)

    def _put(self, data: memoryview) -> Source:
        *others, last = self._places
        failures = []
        for place in others:
            try:
                return place.put(data)
            except Unavailable as error:
                failures.append(str(error))
                if not self._fell_back:
                    self._fell_back = True
                    logger.warning("virtual files fall back to %s: %s", _name_of(last), error)
        try:
            return last.put(data)
        except Unavailable as error:
            for failure in failures:
                error.add_note(f"before that: {failure}")
            raise

    def _register(self, key: str, source: Source, size: int, owner: Owner, media_type: str) -> None:
        """Register the file whose bytes `source` holds. If that fails, free the bytes."""
        try:
            self.registry.register(key, source, size, owner=owner, media_type=media_type)
        except BaseException:
            source.free()
            raise


class SharedMemoryStorage(RegisteredStorage):
    """Files in blocks of shared memory.

    Args:
        registry: as for `RegisteredStorage`.
        recycler: hands the blocks out. Default: a new one with its defaults.
        fallback: what is used instead, with one warning, when shared memory is full or cannot be
            used: "temp_file" (default), "in_memory", or None: `store` raises the error.
    """

    def __init__(
        self,
        *,
        registry: Registry | None = None,
        recycler: Recycler | None = None,
        fallback: StorageKind | None = "temp_file",
    ) -> None:
        self.recycler = recycler if recycler is not None else Recycler()
        places: list[Place] = [BlockPlace(self.recycler)]
        if fallback is not None:
            places.append(_place(fallback))
        super().__init__(places, registry)


class TempFileStorage(RegisteredStorage):
    """Files in a temporary directory.

    Args:
        registry: as for `RegisteredStorage`.
        parent: the folder in which the directory is made. Default: the system's for temporary
            files.
    """

    def __init__(self, *, registry: Registry | None = None, parent: str | None = None) -> None:
        super().__init__([TempFilePlace(TempDirectory(parent))], registry)


class InMemoryStorage(RegisteredStorage):
    """Files in this process's memory.

    Args:
        registry: as for `RegisteredStorage`.
    """

    def __init__(self, *, registry: Registry | None = None) -> None:
        super().__init__([MemoryPlace()], registry)


def create_storage(
    kind: StorageKind | None,
    *,
    registry: Registry | None = None,
    fallback: StorageKind | None = "temp_file",
) -> RegisteredStorage | None:
    """The storage of this kind. None gives None: files are then data URLs.

    Args:
        kind: "shared_memory", "temp_file", "in_memory" or None.
        registry: as for `RegisteredStorage`.
        fallback: as for `SharedMemoryStorage`. The other kinds have none.

    Raises:
        ValueError: there is no such kind.
    """
    if kind is None:
        return None
    if kind == "shared_memory":
        return SharedMemoryStorage(registry=registry, fallback=fallback)
    return RegisteredStorage([_place(kind)], registry)


def view_of(buffer: Buffer) -> memoryview:
    """The bytes of any buffer, flat; copied only where they are not contiguous.

    Raises:
        TypeError: `buffer` is a `str` (encode it first), or no buffer.
    """
    if isinstance(buffer, str):
        raise TypeError("a virtual file takes bytes, not str: encode it first")
    view = memoryview(buffer)
    if not view.nbytes:
        return memoryview(b"")
    try:
        return view.cast("B")
    except (TypeError, ValueError):  # not contiguous, or items that `cast` does not know
        return memoryview(view.tobytes())


def _place(kind: StorageKind) -> Place:
    match kind:
        case "shared_memory":
            return BlockPlace(Recycler())
        case "temp_file":
            return TempFilePlace(TempDirectory())
        case "in_memory":
            return MemoryPlace()
    raise ValueError(
        f"{kind!r} is not a kind of storage: choose 'shared_memory', 'temp_file', 'in_memory'"
        " or None"
    )


def _name_of(place: Place) -> str:
    return {TempFilePlace: "temporary files", MemoryPlace: "the memory of this process"}.get(
        type(place), "shared memory"
    )


def _end(registry: Registry, places: Sequence[Place]) -> None:
    registry.release_all()
    for place in places:
        place.close()
