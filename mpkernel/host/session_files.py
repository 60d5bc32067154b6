"""Virtual files of a host: stored here, announced up the stream Pipe, read by the server.

    store ─▶ block ─▶ FileStored ═══▶ the server's registry ─▶ readers
    remove ─▶ FileRemoved ══════════▶        │
    block used again ◀══ FilesFreed ═════════┘ when the last reader is done

As long as the server may read a file, it has a lease on it in the host's own registry. The lease
begins when the file is announced, `FilesFreed` ends it, and only then is the memory used again.
Nobody waits for an answer. An announcement is sent with the next output, in front of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from mpkernel.host.streams import StreamWriter
from mpkernel.wire.messages import FileStorage

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from mpkernel.host.storage import HostStorage
    from shm import RegisteredStorage, VirtualFile

__all__ = ["HostFiles", "SessionFiles"]


class HostFiles:
    """The virtual files of all sessions of a host. The package `shm` is loaded with the first file.

    Args:
        writer: the stream Pipe.
        settings: how they are kept.
        folders: the only folders where they may be kept, if the host is confined.
    """

    def __init__(
        self, writer: StreamWriter, settings: FileStorage, folders: Sequence[str] = ()
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._folders = folders
        self._lock = threading.Lock()  # guards the construction of the storage
        self._announced: HostStorage | None = None
        self._private: RegisteredStorage | None = None

    @property
    def enabled(self) -> bool:
        """Whether there are virtual files. If not, files become data URLs."""
        return self._settings.kind is not None

    def storage(self) -> RegisteredStorage | None:
        """Where files are kept; None when `enabled` is not. In a fork of the host it is the fork's
        own memory: nobody outside can ask for them."""
        if self._writer.forgotten:
            return self._own_storage()
        if self._announced is None and self.enabled:
            from mpkernel.host.storage import HostStorage

            with self._lock:
                if self._announced is None:
                    self._announced = HostStorage(self._writer, self._settings, self._folders)
        return self._announced

    def freed(self, keys: Iterable[str]) -> None:
        """Called by the dispatcher: nobody in the server reads these files any more."""
        if self._announced is not None:
            self._announced.freed(keys)

    def give_up_free(self) -> None:
        """Called by the dispatcher: another host is short of shared memory."""
        if self._announced is not None:
            self._announced.give_up_free()

    def expire(self) -> float | None:
        """Called by the dispatcher: give up memory that has waited too long to be used again.
        Returns the seconds until the next call is due; None when no memory waits."""
        return self._announced.expire() if self._announced is not None else None

    def release_session(self, number: int) -> None:
        """End all files of a session."""
        if self._announced is not None and not self._writer.forgotten:
            self._announced.release_session(number)

    def close(self) -> None:
        """The host ends: remove every block and temporary file, without telling the server."""
        if self._announced is not None:
            self._announced.close()

    def _own_storage(self) -> RegisteredStorage:
        if self._private is None:
            from shm import InMemoryStorage

            self._private = InMemoryStorage()
        return self._private


class SessionFiles:
    """The virtual files of one session: a `shm.VirtualFileStorage` in its name.

    Args:
        files: the host's.
        number: the session's number; 0 for what is the host's own.
    """

    stale = False

    def __init__(self, files: HostFiles, number: int) -> None:
        self._files = files
        self._number = number

    @property
    def enabled(self) -> bool:
        """Whether there are virtual files. If not, `create` gives data URLs and `store` fails."""
        return self._files.enabled

    def create(
        self,
        buffer: Buffer,
        *,
        media_type: str = "application/octet-stream",
        extension: str = "",
    ) -> VirtualFile:
        """A file that the session's client can fetch, as long as the object lives; see
        `shm.VirtualFile`."""
        from mpkernel.host.storage import owner_of_session
        from shm import VirtualFile

        return VirtualFile.create_and_register(
            buffer,
            storage=self._files.storage(),
            media_type=media_type,
            extension=extension,
            owner=owner_of_session(self._number),
        )

    def store(self, key: str, buffer: Buffer) -> None:
        """Keep a copy of the bytes under `key`, and announce it. See `shm.RegisteredStorage`."""
        from mpkernel.host.storage import owner_of_session

        self._require().store(key, buffer, owner=owner_of_session(self._number))

    def read(self, key: str, byte_length: int) -> bytes:
        return self._require().read(key, byte_length)

    def read_chunked(
        self, key: str, byte_length: int, chunk_size: int = 256 * 1024, start: int = 0
    ) -> Iterator[bytes]:
        return self._require().read_chunked(key, byte_length, chunk_size, start)

    def remove(self, key: str) -> None:
        """Forget a file. If there is no such file, nothing is done. If it belongs to another
        session, `shm.NotOwner` is raised."""
        from mpkernel.host.storage import owner_of_session

        storage = self._files.storage()
        if storage is not None:
            storage.registry.release(key, owner_of_session(self._number))

    def shutdown(self, keys: Iterable[str] | None = None) -> None:
        """Forget these files. Without `keys`: forget all files of the session."""
        if keys is None:
            self._files.release_session(self._number)
            return
        for key in list(keys):
            self.remove(key)

    def has(self, key: str) -> bool:
        storage = self._files.storage()
        return storage is not None and storage.has(key)

    def _require(self) -> RegisteredStorage:
        storage = self._files.storage()
        if storage is None:
            from shm import Unavailable

            raise Unavailable(
                "this pool keeps no virtual files (file_storage is None); use data URLs, or set it"
            )
        return storage
