"""Virtual files as the server knows them: announced by hosts, read by clients, freed with the last
reader.

All hosts of a pool share one registry; here the announcements of a host become entries of it. A
host can announce only its own files: if the location does not have the host's tag in its name, or
the key is registered already, the file is refused. No file is opened before a client reads it.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

from mpkernel.aio.slices import in_slices
from mpkernel.aio.tasks import supervised_task
from mpkernel.logs import get_logger
from mpkernel.server.launching.process import Elsewhere
from mpkernel.wire.messages import FileStored
from shm import Entry, Owner, QuotaExceeded, Registry
from shm.mappings import Mappings
from shm.names import ProcessTag
from shm.sources import AttachedFile, Reader, SourceKind
from shm.sweeping import sweep_process

__all__ = ["AnnouncedFiles", "app_of"]

logger = get_logger(__name__)

_RELEASED_AT_ONCE = 500
_TOLD_AT_ONCE = 200  # so many keys fit into the smallest `max_frame_bytes`
_MOST_CHARS = 255
_MOST_CHARS_OF_A_PATH = 4096


def app_of(entry: Entry) -> str | None:
    """The path of the app that has a file; None if it is not a host's."""
    return entry.source.app if isinstance(entry.source, _HostSource) else None


class AnnouncedFiles:
    """The files that one host announced.

    Args:
        registry: the pool's.
        host: the host, to which the blocks and temporary files must belong.
        loop: the host's event loop. Everything is called on its thread, except that a reader may
            end on any thread.
        tell_freed: called on the loop's thread with the keys of files that nobody reads any more,
            1,000 at most, once per turn of the loop.
        elsewhere: opens the host's files, if these lie on another machine.
        app: absolute path of the app's file.
        mapped_age_s: how long a block that is used again stays mapped.

    Attributes:
        mappings: the host's blocks that the server has mapped.
        elsewhere, app: as given.
    """

    def __init__(
        self,
        registry: Registry,
        host: ProcessTag,
        loop: asyncio.AbstractEventLoop,
        tell_freed: Callable[[list[str]], None],
        elsewhere: Elsewhere | None = None,
        *,
        app: str,
        mapped_age_s: float,
    ) -> None:
        self.mappings = Mappings(max_age_s=mapped_age_s)
        self._registry = registry
        self._host = host
        self._prefix = host.prefix
        self._launched = host
        self._folders: dict[str, str] = {}  # by the path under which the process finds it
        self._loop = loop
        self._tell_freed = tell_freed
        self.elsewhere = elsewhere
        self.app = app
        self._mapped_age_s = mapped_age_s
        self._expiry: asyncio.TimerHandle | None = None
        self._freed: deque[str] = deque()  # single operations, each one atomic
        self._will_tell = False
        self._last_owner = Owner(self._prefix)
        self._live: set[_HostSource] = set()  # single operations, each one atomic
        self._releasing: set[asyncio.Task[None]] = set()
        self._is_over = False

    def come_from(self, host: ProcessTag) -> None:
        """Accept the blocks and the temporary files of this process: a wrapper has started the
        host."""
        self._host = host

    def lie_in(self, folder: str, seen_as: str | None = None) -> None:
        """Accept files in this folder. Once one folder is named, files elsewhere are refused. The
        server has made the folder, so the process cannot replace it by a link to a file that only
        the server may read.

        Args:
            folder: its path.
            seen_as: the path under which the process finds it. Default: the same.
        """
        self._folders[folder if seen_as is None else seen_as] = folder

    def stored(self, session: int, message: FileStored) -> None:
        """Register a file.

        Raises:
            ShmError, ValueError: the file is refused, and cannot be read. The host keeps its bytes
                until it removes the file itself.
        """
        if not self._is_of_host(message):
            raise ValueError(f"{message.location[:80]!r} does not belong to this host")
        if len(message.media_type) > _MOST_CHARS:
            raise ValueError(f"{message.media_type[:80]!r}… is not a media type")
        self._check_count()
        source = _HostSource(message, self)
        self._registry.register(
            message.key,
            source,
            message.size,
            owner=self._owner(session),
            media_type=message.media_type,
        )
        self._live.add(source)
        if message.kind == "block" and self.elsewhere is None:
            self.mappings.note(message.location)
            if self._expiry is None:
                self._expire_in(self._mapped_age_s)

    def removed(self, key: str) -> None:
        """The host ended a file: free it with its last reader, or at once if the file has none."""
        try:
            known = self._registry.lookup(key).owner.host == self._prefix
        except KeyError:
            known = False
        if known:
            self._registry.release(key)
        else:
            self._on_freed(key)

    def let_go(self) -> None:
        """Drop the mappings of the host's blocks. The system frees a block that a host has unlinked
        only when no mapping of it is left."""
        self.mappings.clear()

    def release_session(self, session: int) -> None:
        """End the files of a session. If there are many, this is done in slices of the loop's
        time."""
        self._release(self._registry.keys_of_session(self._owner(session)))

    def release_host(self) -> None:
        """End all files of the host, which has ended. Readers that have a file open can read on. If
        there are many files, this is done in slices of the loop's time; see `released`."""
        self._is_over = True
        self._release(self._registry.keys_of_host(self._prefix))
        self.mappings.clear()
        if self._expiry is not None:
            self._expiry.cancel()

    async def released(self) -> None:
        """Wait until all files that were to end have ended."""
        if self._releasing:
            await asyncio.wait(self._releasing)

    def sweep(self) -> None:
        """Remove what the dead host left, announced or not. Not for the loop's thread."""
        if self.elsewhere is not None:  # the other machine removes them
            return
        self._sweep(self._host)
        if self._launched != self._host:  # the folders of a confined host that a wrapper started
            self._sweep(self._launched)

    def _sweep(self, process: ProcessTag) -> None:
        swept = sweep_process(process)
        if swept.names:
            logger.info(
                "removed what a dead host left: %d names, %d bytes of shared memory",
                len(swept.names),
                swept.block_bytes,
                pid=process.pid,
            )

    def _check_count(self) -> None:
        """Check that the host may have one more file. Each host may have `host_files`; beyond
        these, it may have as many more as are free now. So one host can never take all."""
        registry = self._registry
        shared = len(self._live) - registry.host_files
        if shared < 0 or shared < registry.max_files - len(registry):  # no need to count
            return
        free = registry.free_files
        if shared >= free:
            raise QuotaExceeded(
                f"the process has {len(self._live):,} virtual files, and there is room for"
                f" {max(0, free):,} more of all apps: each process may have"
                f" {registry.host_files:,}, and beside these as many as are free"
            )

    def _release(self, keys: list[str]) -> None:
        if len(keys) <= _RELEASED_AT_ONCE:
            for key in keys:
                self._registry.release(key)
            return
        supervised_task(
            in_slices(keys, self._registry.release),
            name="mpkernel.files",
            registry=self._releasing,
        )

    def source_freed(self, source: _HostSource) -> None:
        """Nobody reads this file any more. On any thread."""
        self._live.discard(source)
        self._on_freed(source.key)

    def _on_freed(self, key: str) -> None:
        """On any thread, and from a `__del__`, and therefore without a lock. It is harmless if the
        host is told of a key twice."""
        if self._is_over:  # the host has ended
            return
        self._freed.append(key)
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._will_tell:
            return
        self._will_tell = True
        try:
            self._loop.call_soon_threadsafe(self._tell)
        except RuntimeError:  # the loop is closed, and the host about to end
            if not self._loop.is_closed():
                raise

    def _tell(self) -> None:
        self._will_tell = False
        keys = [self._freed.popleft() for _ in range(min(len(self._freed), _TOLD_AT_ONCE))]
        if self._freed:
            self._tell_soon()
        if keys:
            self._tell_freed(keys)

    def _expire_in(self, delay_s: float) -> None:
        self._expiry = self._loop.call_later(delay_s, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        due_s = self.mappings.expire()
        if due_s is not None:
            self._expire_in(due_s)

    def _owner(self, session: int) -> Owner:
        """The owner of a session's files. Successive files of one session share one object: the
        garbage collector, which stops the loop, goes through each object that is kept."""
        if self._last_owner.session != session:
            self._last_owner = Owner(self._prefix, session)
        return self._last_owner

    def location_of(self, message: FileStored) -> str:
        """Where the server finds a file, which is the host's."""
        seen_as, name = os.path.split(message.location)
        folder = self._folders.get(seen_as)
        return message.location if folder is None else os.path.join(folder, name)

    def _is_of_host(self, message: FileStored) -> bool:
        path = message.location
        if self.elsewhere is not None:  # opening the file checks its location
            return len(path) <= _MOST_CHARS_OF_A_PATH
        if self._folders:
            return message.kind == "temp_file" and os.path.dirname(path) in self._folders
        if message.kind == "block":
            return (
                path.startswith(self._host.prefix) and "/" not in path and len(path) <= _MOST_CHARS
            )
        if len(path) > _MOST_CHARS_OF_A_PATH:
            return False
        if not os.path.isabs(path) or os.path.normpath(path) != path:
            return False
        return os.path.basename(os.path.dirname(path)).startswith(self._host.prefix)


class _HostSource:
    """The bytes of a file, which its host keeps."""

    __slots__ = ("_files", "key", "kind", "location")

    def __init__(self, message: FileStored, files: AnnouncedFiles) -> None:
        self.kind: SourceKind = message.kind
        self.location = files.location_of(message)
        self.key = message.key
        self._files = files

    @property
    def app(self) -> str:
        return self._files.app

    def open(self, size: int) -> Reader:
        if self._files.elsewhere is not None:
            return self._files.elsewhere.open_file(self.kind, self.location, size)
        if self.kind == "block":
            return self._files.mappings.open(self.location, size)
        return AttachedFile(self.location, size)

    def released(self) -> None:
        """Nothing: the host itself has ended the file, or has ended."""

    def free(self) -> None:
        self._files.source_freed(self)
