"""Which virtual files there are, who owns them, and who still needs their bytes.

A file's life:

    register ─▶ readable by its key ─▶ released ─▶ its bytes freed, once
                 ▲        │              (by its owner, by the last reference,
                 └ lease ─┘               with its session, with its host)

A reader takes a lease of a file while it reads. The bytes are not freed before the last lease ends,
so a reader never gets the bytes of another file. Whoever knows a key may read the file: keys have
128 random bits. Only registered files can be read.

Any thread may call. So may a `__del__` that the garbage collector runs while the same thread is in
the middle of a call. Therefore the lock is re-entrant, and within it the steps have an order in
which a second call between them does no harm: a key is taken with one `setdefault`, and whoever
sets `freed` frees the bytes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from shm.entries import Entry, FileInfo, Owner
from shm.errors import KeyTaken, NotOwner, QuotaExceeded
from shm.locks import fork_safe_rlock
from shm.sources import Source

__all__ = ["Registry", "Snapshot"]

MAX_KEY_CHARS = 255

Group = TypeVar("Group", bound=Hashable)


class Snapshot(NamedTuple):
    """What is registered at one moment.

    Attributes:
        files: each file, the oldest first.
        total_bytes: what they hold together.
    """

    files: list[FileInfo]
    total_bytes: int


class Registry:
    """The files of one process, or all those that a server knows.

    Args:
        session_quota_bytes: how much one session may hold. Default None: no bound.
        quota_bytes: how much all sessions may hold together. Default None: no bound.
        max_files: how many files there may be in all. The `host_files` of each host do not count.
            Default 100,000.
        host_files: how many files each host may have in addition to `max_files`, however many
            others have. Default 0.
    """

    def __init__(
        self,
        *,
        session_quota_bytes: int | None = None,
        quota_bytes: int | None = None,
        max_files: int = 100_000,
        host_files: int = 0,
    ) -> None:
        self.session_quota_bytes = session_quota_bytes
        self.quota_bytes = quota_bytes
        self.max_files = max_files
        self.host_files = host_files
        self._lock = fork_safe_rlock()  # guards all below, and what entries hold
        self._files: dict[str, Entry] = {}
        self._of_session: dict[Owner, dict[str, Entry]] = {}
        self._of_host: dict[str | int, dict[str, Entry]] = {}
        self._held: dict[int, Entry] = {}  # those that are released, and that readers still hold
        self._bytes_of: dict[Owner, int] = {}
        self._total_bytes = 0

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, key: object) -> bool:
        return key in self._files

    @property
    def total_bytes(self) -> int:
        """How many bytes are registered or still being read."""
        return self._total_bytes

    @property
    def free_files(self) -> int:
        """How many more files a host may make that has used up its own `host_files`."""
        if not self.host_files:
            return self.max_files - len(self._files)
        hosts = list(self._of_host.values())
        return self.max_files - sum(max(0, len(files) - self.host_files) for files in hosts)

    def bytes_held(self) -> dict[Owner, int]:
        """How many bytes each owner holds. Owners that hold none are left out."""
        with self._lock:
            return dict(self._bytes_of)

    def check(self, key: str, size: int, owner: Owner) -> None:
        """Raise what `register` would raise. To be called before the bytes are written."""
        if not key or len(key) > MAX_KEY_CHARS or "/" in key or "\0" in key or not _is_utf8(key):
            raise ValueError(
                f"{key[:40]!r} is not a key: 1 to {MAX_KEY_CHARS} characters that UTF-8 has, none"
                " of them a slash"
            )
        if size < 0:
            raise ValueError(f"the size of a file must be 0 bytes or more, not {size}")
        if key in self._files:
            raise KeyTaken(f"the key {key!r} is registered already")
        if len(self._files) >= self.max_files:
            of_host = len(self._of_host.get(owner.host, ()))
            if of_host >= self.host_files and self.free_files <= 0:
                raise QuotaExceeded(
                    f"there are {len(self._files):,} virtual files already, the maximum"
                )
        mine = self._bytes_of.get(owner, 0)
        _check_quota("the session", size, mine, self.session_quota_bytes)
        _check_quota("all sessions", size, self._total_bytes, self.quota_bytes)

    def register(
        self,
        key: str,
        source: Source,
        size: int,
        *,
        owner: Owner,
        media_type: str = "application/octet-stream",
        leases: int = 0,
    ) -> Entry:
        """Make a file readable by its key, with one reference.

        Args:
            key: see `new_key`.
            source: where the bytes lie.
            size: how many bytes the file has.
            owner: the owner.
            media_type: the MIME type.
            leases: how many readers hold the file from the beginning; each calls `end_lease`.

        Raises:
            KeyTaken: the key is registered already.
            QuotaExceeded: the session, or all sessions together, would hold too much.
            ValueError: the key is not valid.
        """
        with self._lock:
            self.check(key, size, owner)
            entry = Entry(key, source, size, owner, media_type, leases)
            if self._files.setdefault(key, entry) is not entry:
                raise KeyTaken(f"the key {key!r} is registered already")
            self._of_session.setdefault(owner, {})[key] = entry
            self._of_host.setdefault(owner.host, {})[key] = entry
            self._count(entry, size)
        return entry

    def lookup(self, key: str) -> FileInfo:
        """What is known of a file.

        Raises:
            KeyError: no such file is registered.
        """
        return self._entry(key).info()

    @contextmanager
    def lease(self, key: str) -> Iterator[Entry]:
        """Keep a file's bytes while the `with` lasts, even if somebody releases the file meanwhile.

        Raises:
            KeyError: no such file is registered.
        """
        with self._lock:
            entry = self._entry(key)
            entry.leases += 1
        try:
            yield entry
        finally:
            self.end_lease(entry)

    def end_lease(self, entry: Entry) -> None:
        """Say that a reader is done with the file."""
        with self._lock:
            entry.leases -= 1
        self._free_when_unused(entry)

    def reference(self, key: str) -> None:
        """Say that one more object shows the file.

        Raises:
            KeyError: no such file is registered.
        """
        with self._lock:
            self._entry(key).references += 1

    def dereference(self, key: str) -> None:
        """Say that one object no longer shows the file. After the last one, the file is released.
        If the key is not registered, nothing is done."""
        with self._lock:
            entry = self._files.get(key)
            if entry is None:
                return
            entry.references -= 1
            if entry.references > 0:
                return
        self._release(entry)

    def release(self, key: str, owner: Owner | None = None) -> None:
        """End a file: nobody can read it by its key any more. If the key is not registered, nothing
        is done.

        Raises:
            NotOwner: an `owner` is given, and the file belongs to somebody else.
        """
        entry = self._files.get(key)
        if entry is None:
            return
        if owner is not None and entry.owner != owner:
            raise NotOwner(f"the file {key!r} belongs to another session")
        self._release(entry)

    def release_session(self, owner: Owner) -> None:
        """End all files of a session."""
        self._release_all(self._of_session.get(owner, {}))

    def keys_of_session(self, owner: Owner) -> list[str]:
        """The keys of a session's files, the oldest first."""
        return list(self._of_session.get(owner, {}))

    def keys_of_host(self, host: str | int) -> list[str]:
        """The keys of a host's files, of all its sessions, the oldest first."""
        return list(self._of_host.get(host, {}))

    def release_host(self, host: str | int) -> None:
        """End all files of a host, of all its sessions."""
        self._release_all(self._of_host.get(host, {}))

    def release_all(self) -> None:
        """End all files."""
        self._release_all(self._files)

    def snapshot(self) -> Snapshot:
        """All files that are registered now, and those that have ended and are still being read."""
        with self._lock:
            entries = [*self._files.values(), *self._held.values()]
            files = sorted((entry.info() for entry in entries), key=lambda i: i.registered_at)
            return Snapshot(files, self._total_bytes)

    def _entry(self, key: str) -> Entry:
        try:
            return self._files[key]
        except KeyError:
            raise KeyError(f"no virtual file {key[:MAX_KEY_CHARS]!r} is registered") from None

    def _release_all(self, entries: dict[str, Entry]) -> None:
        for entry in list(entries.values()):
            self._release(entry)

    def _release(self, entry: Entry) -> None:
        with self._lock:
            if entry.released:
                return
            entry.released = True
            self._files.pop(entry.key, None)
            _drop(self._of_session, entry.owner, entry.key)
            _drop(self._of_host, entry.owner.host, entry.key)
            if entry.leases:
                self._held[id(entry)] = entry
        entry.source.released()
        self._free_when_unused(entry)

    def _free_when_unused(self, entry: Entry) -> None:
        with self._lock:
            if entry.freed or not entry.released or entry.leases > 0:
                return
            entry.freed = True
            self._held.pop(id(entry), None)
            self._count(entry, -entry.size)
        entry.source.free()

    def _count(self, entry: Entry, size: int) -> None:
        self._total_bytes += size
        held = self._bytes_of.get(entry.owner, 0) + size
        if held:
            self._bytes_of[entry.owner] = held
        else:
            self._bytes_of.pop(entry.owner, None)


def _is_utf8(key: str) -> bool:
    if key.isascii():
        return True
    try:
        key.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _drop(index: dict[Group, dict[str, Entry]], group: Group, key: str) -> None:
    entries = index.get(group)
    if entries is not None:
        entries.pop(key, None)
        if not entries:
            index.pop(group, None)


def _check_quota(whose: str, size: int, held: int, quota: int | None) -> None:
    if quota is not None and held + size > quota:
        raise QuotaExceeded(
            f"a virtual file of {size:,} bytes is over the quota: {whose} may hold {quota:,} and"
            f" holds {held:,}; remove files, or raise the quota"
        )
