"""Packs the folder of an app into an archive, at the server. Blocks: not for the thread of a loop.

    folder ─▶ Listing ─▶ Archive, named by the hash of its content

A listing names the files of the folder, with sizes and times. Equal listings have the same archive:
so if nothing has changed, no file is read again. `kept_archives` and `unpacking` are the worker's
end.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Self

from mpkernel.amounts import memory
from mpkernel.errors import ClusterError

__all__ = [
    "LEFT_OUT",
    "MOST_ENTRIES",
    "Archive",
    "Entry",
    "Listing",
    "Packed",
    "listing_of",
    "packed",
]

LEFT_OUT = frozenset({".git", ".hg", ".svn", ".venv", "__marimo__", "__pycache__", "node_modules"})
"""The names of what is not sent, wherever in the folder it lies."""

MOST_ENTRIES = 10_000
"""How many files and folders an app's folder may hold."""

_TRIES = 3
"""How often a folder is packed whose files change meanwhile, before that is an error."""


class Entry(NamedTuple):
    """A file, folder or link of an app's folder.

    Attributes:
        path: below the folder.
        target: where the link points to; None: it is no link.
        mode: its kind and permissions.
        size: of a file, in bytes; else 0.
        mtime_ns: of a file, when it was changed; else 0.
    """

    path: str
    target: str | None
    mode: int
    size: int
    mtime_ns: int


class Listing(NamedTuple):
    """What is sent of a folder.

    Attributes:
        folder: its absolute path.
        entries: what is sent, each folder before what is in it.
        links_left_out: the paths of links that lead out of the folder.
    """

    folder: str
    entries: tuple[Entry, ...]
    links_left_out: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many bytes the files have."""
        return sum(one.size for one in self.entries)


class Archive(NamedTuple):
    """A packed folder.

    Attributes:
        digest: the hash of the archive, in hexadecimal digits.
        size: how many bytes it has.
        file: the archive, without a name in any folder. Whoever has it closes it.
    """

    digest: str
    size: int
    file: BinaryIO


class Packed(NamedTuple):
    """A folder and its archive."""

    listing: Listing
    archive: Archive


class _ChangedError(Exception):
    """A file was changed while it was read.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def listing_of(folder: str, *, max_bytes: int) -> Listing:
    """What is to be sent of a folder.

    Args:
        folder: its absolute path.
        max_bytes: how many bytes its files may have together.

    Raises:
        ClusterError: a part of it cannot be read, or it is too large.
    """
    entries: list[Entry] = []
    links_left_out: list[str] = []
    try:
        for entry in _walk(folder, ""):
            if entry.target is not None and _leaves(folder, entry):
                links_left_out.append(entry.path)
                continue
            entries.append(entry)
            if len(entries) > MOST_ENTRIES:
                raise ClusterError(
                    f"{folder} cannot be sent to a worker: it has more than {MOST_ENTRIES:,} files"
                    " and folders",
                    remedy="put the app and what it needs into a folder of their own",
                )
    except OSError as error:
        raise _unreadable(folder, error) from error
    listing = Listing(folder, tuple(entries), tuple(links_left_out))
    if listing.size > max_bytes:
        largest = max(entries, key=lambda one: one.size)
        raise ClusterError(
            f"{folder} cannot be sent to a worker: its files have {memory(listing.size)}, and at"
            f" most {memory(max_bytes)} are sent; the largest is {largest.path} with"
            f" {memory(largest.size)}",
            remedy="put the app and what it needs into a folder of their own, or raise"
            " cluster_upload_bytes",
        )
    return listing


def packed(folder: str, *, max_bytes: int, before: Packed | None = None) -> Packed:
    """A folder and its archive.

    Args:
        folder: its absolute path.
        max_bytes: how many bytes its files may have together.
        before: what was packed before; it is returned again if nothing has changed.

    Raises:
        ClusterError: as `listing_of`; or a file changes again and again while it is read, or there
            is no room for the archive.
    """
    changed = ""
    for _ in range(_TRIES):
        listing = listing_of(folder, max_bytes=max_bytes)
        if before is not None and before.listing == listing:
            return before
        try:
            return Packed(listing, _archive_of(listing))
        except _ChangedError as error:
            changed = error.path
    raise ClusterError(
        f"{folder} cannot be sent to a worker: {changed} is changed again and again while it is"
        " read",
        remedy="open the app again when nothing writes to it, or keep that file elsewhere",
    )


def _walk(folder: str, below: str) -> Iterator[Entry]:
    """The entries of a folder, always in the same order.

    Raises:
        OSError: it cannot be read.
    """
    with os.scandir(os.path.join(folder, below)) as found:
        names = sorted(one.name for one in found if one.name not in LEFT_OUT)
    for name in names:
        path = os.path.join(below, name)
        try:
            status = os.lstat(os.path.join(folder, path))
        except FileNotFoundError:  # it was removed meanwhile
            continue
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(os.path.join(folder, path))
            yield Entry(path, target, status.st_mode, 0, 0)
        elif stat.S_ISDIR(status.st_mode):
            yield Entry(path, None, status.st_mode, 0, 0)
            yield from _walk(folder, path)
        elif stat.S_ISREG(status.st_mode):
            yield Entry(path, None, status.st_mode, status.st_size, status.st_mtime_ns)


def _leaves(folder: str, link: Entry) -> bool:
    """Whether a link leads out of the folder, or would do so from a copy of it."""
    assert link.target is not None
    if os.path.isabs(link.target):
        return True
    top = os.path.realpath(folder)
    place = os.path.realpath(os.path.join(folder, os.path.dirname(link.path)))
    end = os.path.realpath(os.path.join(place, link.target))
    return end != top and not end.startswith(top.rstrip(os.sep) + os.sep)


class _Hashing(io.RawIOBase):
    """Writes to a file, and hashes what it writes."""

    def __init__(self, file: BinaryIO) -> None:
        self.hash = hashlib.sha256()
        self.size = 0
        self._file = file

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._file.write(data)
        self.hash.update(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        """How many bytes were written."""
        return self.size


def _archive_of(listing: Listing) -> Archive:
    """Pack what was listed.

    Raises:
        ClusterError: a file cannot be read, or there is no room for the archive.
        _ChangedError: a file is not what it was when the folder was listed.
    """
    try:
        with contextlib.ExitStack() as undo:
            file = undo.enter_context(tempfile.TemporaryFile())
            hashing = _Hashing(file)
            with tarfile.open(
                fileobj=hashing,
                mode="w",
                format=tarfile.GNU_FORMAT,
                encoding="utf-8",
                errors="surrogateescape",
            ) as archive:
                for entry in listing.entries:
                    _add(archive, listing.folder, entry)
            file.flush()
            undo.pop_all()
    except OSError as error:  # also of `close`, which writes what is buffered
        raise ClusterError(
            f"{listing.folder} cannot be packed at the server: {error}",
            remedy="make room there, or set TMPDIR to a folder with more",
        ) from error
    return Archive(hashing.hash.hexdigest(), hashing.size, file)


def _add(archive: tarfile.TarFile, folder: str, entry: Entry) -> None:
    """Write one entry.

    Raises:
        ClusterError: it cannot be read.
        _ChangedError: it is not what it was when the folder was listed.
        OSError: the archive cannot be written.
    """
    info = tarfile.TarInfo(entry.path)
    info.mode = stat.S_IMODE(entry.mode) | stat.S_IWUSR
    info.mtime = entry.mtime_ns // 10**9
    if entry.target is not None:
        info.type, info.linkname = tarfile.SYMTYPE, entry.target
        archive.addfile(info)
        return
    if stat.S_ISDIR(entry.mode):
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
        return
    info.size = entry.size
    with _Source(folder, entry) as source:
        archive.addfile(info, source)


class _Source:
    """Reads a file as it was when the folder was listed.

    Raises:
        ClusterError: it cannot be read.
        _ChangedError: it was changed.
    """

    def __init__(self, folder: str, entry: Entry) -> None:
        self._folder = folder
        self._entry = entry
        try:
            # The path may be a pipe or a link by now: opened in this way, nothing waits for it.
            self._fd = os.open(
                os.path.join(folder, entry.path),
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
            )
        except FileNotFoundError:
            raise _ChangedError(entry.path) from None
        except OSError as error:
            raise _unreadable(folder, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._check()
        finally:
            os.close(self._fd)

    def read(self, size: int = 0, /) -> bytes:
        """The next bytes, as many as were asked for."""
        try:
            data = os.read(self._fd, size)
        except OSError as error:
            raise _unreadable(self._folder, error) from error
        if len(data) < size:
            raise _ChangedError(self._entry.path)
        return data

    def _check(self) -> None:
        """Check that the file is still the one that was listed."""
        found = os.fstat(self._fd)
        if (found.st_size, found.st_mtime_ns) != (self._entry.size, self._entry.mtime_ns):
            raise _ChangedError(self._entry.path)


def _unreadable(folder: str, error: OSError) -> ClusterError:
    return ClusterError(
        f"{folder} cannot be sent to a worker: {error}",
        remedy="let the server's user read all that is in it, or move what it may not read",
    )
