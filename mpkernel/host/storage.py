"""A storage whose files are announced to the server. Loaded with a host's first virtual file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator

from mpkernel.host.streams import StreamWriter
from mpkernel.wire.messages import FileRemoved, FileStorage, FileStored
from shm import Entry, Owner, Recycler, RegisteredStorage, Registry, Source
from shm.registry import SourceKind
from shm.storage import BlockPlace, Place, TempFilePlace
from shm.tempdir import TempDirectory

__all__ = ["HostStorage", "owner_of_session"]


def owner_of_session(number: int) -> Owner:
    """Whose the files of a session are, within the host's own registry."""
    return Owner(os.getpid(), number)


class HostStorage(RegisteredStorage):
    """Files in shared memory or temporary files, which the server is told of.

    Args:
        writer: the stream Pipe.
        settings: what is kept where.
    """

    def __init__(self, writer: StreamWriter, settings: FileStorage) -> None:
        self._writer = writer
        self._leases: dict[str, Entry] = {}  # the server's; single operations, each one atomic
        self._recycler = Recycler(
            max_bytes=settings.recycled_bytes, max_age_s=settings.recycled_age_s
        )
        places: list[Place] = []
        if settings.kind == "shared_memory":
            places.append(BlockPlace(self._recycler))
        if "temp_file" in (settings.kind, settings.fallback):
            places.append(TempFilePlace(TempDirectory()))
        registry = Registry(
            session_quota_bytes=settings.session_quota_bytes, quota_bytes=settings.quota_bytes
        )
        super().__init__(places, registry)

    def freed(self, keys: Iterable[str]) -> None:
        """The server is done with these files."""
        for key in keys:
            entry = self._leases.pop(key, None)
            if entry is not None:
                self.registry.end_lease(entry)

    def expire(self) -> float | None:
        """See `Recycler.expire`."""
        return self._recycler.expire()

    def release_session(self, number: int) -> None:
        """End all files of a session."""
        self.registry.release_session(owner_of_session(number))

    def close(self) -> None:
        """Remove every block and temporary file, and say nothing: the server sees the host go, or
        is gone itself."""
        self._closed = True
        for place in self._places:
            place.close()

    def _register(self, key: str, source: Source, size: int, owner: Owner, media_type: str) -> None:
        session = owner.session if isinstance(owner.session, int) else 0
        announced = _AnnouncedSource(source, key, session, self._writer)
        try:
            entry = self.registry.register(
                key, announced, size, owner=owner, media_type=media_type, leases=1
            )
        except BaseException:
            source.free()
            raise
        self._leases[key] = entry
        try:
            announced.announce(size, media_type)
        except BaseException:
            self.registry.release(key)
            raise


class _AnnouncedSource:
    """A source whose file the server knows of: its end is told too, after its beginning."""

    def __init__(self, source: Source, key: str, session: int, writer: StreamWriter) -> None:
        self._source = source
        self._key = key
        self._session = session
        self._writer = writer
        # Another thread's `released` waits until the beginning is told; the same thread's, from a
        # `__del__` in the midst of it, comes in and leaves the end to `announce`.
        self._lock = threading.RLock()
        self._is_announced = False
        self._is_released = False

    @property
    def kind(self) -> SourceKind:
        return self._source.kind

    @property
    def location(self) -> str:
        return self._source.location

    def chunks(
        self, size: int, start: int, end: int, *, chunk_bytes: int = 256 * 1024
    ) -> Iterator[bytes]:
        return self._source.chunks(size, start, end, chunk_bytes=chunk_bytes)

    def announce(self, size: int, media_type: str) -> None:
        """Tell the server of the file."""
        kind = self._source.kind
        assert kind != "memory", "a host keeps files where its server can read them"
        stored = FileStored(self._key, kind, self._source.location, size, media_type)
        with self._lock:
            try:
                self._send(stored)
            finally:
                self._is_announced = True
                if self._is_released:
                    self._send(FileRemoved(self._key))

    def released(self) -> None:
        with self._lock:
            self._is_released = True
            if self._is_announced:
                self._send(FileRemoved(self._key))

    def free(self) -> None:
        self._source.free()

    def _send(self, message: FileStored | FileRemoved) -> None:
        self._writer.send(message, session=self._session)
