"""A storage whose files are announced to the server. Loaded with a host's first virtual file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from mpkernel.host.streams import StreamWriter
from mpkernel.own_clock import monotonic, sleep
from mpkernel.wire.messages import FileRemoved, FileStorage, FileStored, ShortOfMemory
from shm import Entry, NoSpace, Owner, Recycler, RegisteredStorage, Registry, Source
from shm.sources import BlockSource, Reader, SourceKind
from shm.storage import BlockPlace, Place, TempFilePlace
from shm.tempdir import TempDirectory

__all__ = ["HostStorage", "owner_of_session"]

# The server is told of files, and of their end, with the next output. If code makes files and
# writes no output, the server is told after so many bytes of files.
_FLUSH_BYTES = 8 * 1024 * 1024

_ASK_EVERY_S = 1.0
_PAUSES_S = (0.005, 0.01, 0.02, 0.04, 0.08)


def owner_of_session(number: int) -> Owner:
    """The owner of a session's files, in the host's own registry."""
    return Owner(os.getpid(), number)


class HostStorage(RegisteredStorage):
    """Files in shared memory or temporary files, which the server is told of.

    Args:
        writer: the stream Pipe.
        settings: where files are kept, and how many.
        folders: the only folders where they may be kept, if the host is confined; one after
            another, as the ones before have no space.
    """

    def __init__(
        self, writer: StreamWriter, settings: FileStorage, folders: Sequence[str] = ()
    ) -> None:
        self._writer = writer
        self._leases: dict[str, Entry] = {}  # the server's, by key; each operation is atomic
        self._posted_bytes = 0  # roughly: threads may lose an addition, which does no harm
        self._recycler = Recycler(
            max_bytes=settings.recycled_bytes, max_age_s=settings.recycled_age_s
        )
        places: list[Place] = [TempFilePlace(TempDirectory(path=folder)) for folder in folders]
        if not folders and settings.kind == "shared_memory":
            places.append(_SharedBlocks(self._recycler, writer))
        if not folders and "temp_file" in (settings.kind, settings.fallback):
            places.append(TempFilePlace(TempDirectory()))
        registry = Registry(
            session_quota_bytes=settings.session_quota_bytes, quota_bytes=settings.quota_bytes
        )
        super().__init__(places, registry)

    def freed(self, keys: Iterable[str]) -> None:
        """Nobody in the server reads these files any more."""
        for key in keys:
            entry = self._leases.pop(key, None)
            if entry is not None:
                self.registry.end_lease(entry)

    def give_up_free(self) -> None:
        """Another host is short of shared memory: give up what is not in use."""
        self._recycler.give_up_free()

    def expire(self) -> float | None:
        """See `Recycler.expire`."""
        return self._recycler.expire()

    def release_session(self, number: int) -> None:
        """End all files of a session."""
        self.registry.release_session(owner_of_session(number))

    def close(self) -> None:
        """Remove every block and temporary file, without telling the server: the server sees that
        the host ends, or has ended itself."""
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
        announced.announce(size, media_type)
        self._posted_bytes += size
        if self._posted_bytes >= _FLUSH_BYTES:
            self._posted_bytes = 0
            self._writer.flush()


class _SharedBlocks(BlockPlace):
    """Blocks of shared memory. When shared memory is full, other hosts may keep blocks that they do
    not use. They are asked, at most once a second, to give these up, and `put` waits a little for
    that.

    Args:
        recycler: gives the blocks out.
        writer: the stream Pipe.
    """

    def __init__(self, recycler: Recycler, writer: StreamWriter) -> None:
        super().__init__(recycler)
        self._writer = writer
        self._asked_at = float("-inf")

    def put(self, data: memoryview) -> BlockSource:
        try:
            return super().put(data)
        except NoSpace:
            now = monotonic()
            if now - self._asked_at < _ASK_EVERY_S:
                raise
            self._asked_at = now
        self._writer.post(ShortOfMemory())
        self._writer.flush()
        for pause_s in _PAUSES_S:
            sleep(pause_s)
            try:
                return super().put(data)
            except NoSpace:
                continue
        return super().put(data)


class _AnnouncedSource:
    """A source whose file the server is told of: first of the file, later of its end.

    Nothing here waits: both messages are posted, and go with the next output. If `released` is
    called between the two steps of `announce`, by another thread or a `__del__`, the server may be
    told of the end twice, which does no harm.
    """

    def __init__(self, source: Source, key: str, session: int, writer: StreamWriter) -> None:
        self._source = source
        self._key = key
        self._session = session
        self._writer = writer
        self._is_announced = False
        self._is_released = False

    @property
    def kind(self) -> SourceKind:
        return self._source.kind

    @property
    def location(self) -> str:
        return self._source.location

    def open(self, size: int) -> Reader:
        return self._source.open(size)

    def announce(self, size: int, media_type: str) -> None:
        """Tell the server of the file."""
        kind = self._source.kind
        assert kind != "memory", "a host keeps files where its server can read them"
        self._post(FileStored(self._key, kind, self._source.location, size, media_type))
        self._is_announced = True
        if self._is_released:
            self._post(FileRemoved(self._key))

    def released(self) -> None:
        self._is_released = True
        if self._is_announced:
            self._post(FileRemoved(self._key))

    def free(self) -> None:
        self._source.free()

    def _post(self, message: FileStored | FileRemoved) -> None:
        self._writer.post(message, session=self._session)
