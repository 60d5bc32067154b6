"""Blocks of POSIX shared memory. `multiprocessing.shared_memory.SharedMemory` can open the same
blocks; they are made and read in another way here, for these reasons:

- The space is reserved when the block is made. `SharedMemory` only sets the length: on a full
  `/dev/shm`, the first write then ends the process with a SIGBUS. Here, `NoSpace` is raised.
- A new block is written with `pwrite`, which makes the pages without a page fault for each (2.5
  times as fast as through a mapping, as measured). A block is mapped only when it is used again:
  copying into pages that exist costs no system call.
- Reading does not register the block with the reader's resource tracker. Before Python 3.13
  `SharedMemory` does that, and the tracker then removes a block that belongs to somebody else.
- On Linux, reading does not map the block. If somebody cuts a block short, reading it raises an
  error; reading it through a mapping would end the process with a SIGBUS.
- The maker's resource tracker is told of a block before the block is made: the process may be
  killed between the two.
"""

from __future__ import annotations

import _posixshmem
import errno
import logging
import mmap
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from shm.errors import BlockNotFound, NoSpace, Unavailable
from shm.names import next_name
from shm.tracker import track, untrack

__all__ = [
    "CHUNK_BYTES",
    "AttachedBlock",
    "Block",
    "read_chunks",
    "unlink_stray",
]

logger = logging.getLogger(__name__)

CHUNK_BYTES = 128 * 1024
"""How much of a file is read at a time. The memory of larger pieces is given back to the system
after each of them, as glibc's `malloc` does it, and the next one meets page faults again: reading a
file of 1 MiB in pieces of 256 KiB takes twice the processor time."""

_COPY_BYTES = 4 * 1024 * 1024
_DIRECTORY = "/dev/shm"

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM)
"""The error numbers of a write for which there is no space."""

_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_MORE_DESCRIPTORS = "raise the limit of open files, or close some"

# On macOS shared memory can only be mapped, and no directory lists it.
_CAN_PREAD = _LISTABLE = sys.platform == "linux"


class Block:
    """A block that this process made and must unlink. Not thread-safe: one holder uses it at a
    time.

    Attributes:
        name: its name, without a leading slash; 30 characters at most.
        capacity: its size in bytes.
    """

    __slots__ = ("_fd", "_linked", "_maker_pid", "_mapping", "capacity", "name")

    def __init__(self, name: str, capacity: int, fd: int) -> None:
        self.name = name
        self.capacity = capacity
        self._fd: int | None = fd
        self._mapping: mmap.mmap | None = None
        self._maker_pid = os.getpid()
        self._linked = True

    @classmethod
    def create(cls, capacity: int) -> Block:
        """Make a block that only this user can open (mode 0600), its space reserved.

        Args:
            capacity: size in bytes, over 0.

        Raises:
            NoSpace: the shared memory of this machine is full.
            Unavailable: shared memory cannot be used at all.
        """
        if capacity <= 0:
            raise ValueError(f"the capacity of a block must be over 0 bytes, not {capacity}")
        name, fd = _create_linked()
        block = cls(name, capacity, fd)
        try:
            _reserve(fd, capacity)
        except BaseException:
            block.unlink()
            raise
        return block

    @property
    def linked(self) -> bool:
        """Whether others can still open the block. Somebody may have removed its name, as systemd
        does when the user logs out. Where shared memory is not a file system, this cannot
        be seen."""
        return self._linked and (not _LISTABLE or os.path.exists(f"{_DIRECTORY}/{self.name}"))

    @property
    def mapped(self) -> bool:
        """Whether a mapping is held, and with it a descriptor."""
        return self._mapping is not None

    def write(self, data: memoryview) -> None:
        """Write bytes to the block's beginning. What the block holds behind them is undefined.

        Args:
            data: bytes, contiguous (`format` "B"), at most `capacity` of them.

        Raises:
            Unavailable: the block cannot be opened any more.
            ValueError: the bytes do not fit.
        """
        if len(data) > self.capacity:
            raise ValueError(f"{len(data)} bytes do not fit into a block of {self.capacity}")
        mapping = self._mapping
        if mapping is None:
            try:
                self._write_unmapped(data)
            except OSError as error:
                raise Unavailable(f"block {self.name} cannot be written: {error}") from error
            return
        # The bytes are copied in pieces, so that other threads can run between two pieces.
        for start in range(0, len(data), _COPY_BYTES):
            mapping[start : min(start + _COPY_BYTES, len(data))] = data[start : start + _COPY_BYTES]

    def map(self) -> None:
        """Map the block, so that `write` only has to copy. All pages are mapped at once, so that
        the copy meets no page fault.

        Raises:
            Unavailable: there is no descriptor or no address space left.
        """
        if self._mapping is not None:
            return
        try:
            if self._fd is None:
                self._fd = _posixshmem.shm_open(f"/{self.name}", os.O_RDWR, mode=0)
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            self._mapping = mmap.mmap(self._fd, self.capacity, flags=flags)
        except OSError as error:
            raise Unavailable(
                f"shared-memory block {self.name} cannot be mapped: {error}"
            ) from error
        finally:
            self._close_fd()  # a mapping has a duplicate of its own

    def unmap(self) -> None:
        """End the mapping, and close its descriptor."""
        mapping, self._mapping = self._mapping, None
        if mapping is not None:
            mapping.close()

    def unlink(self) -> None:
        """Remove the block: nobody can open it any more, and its memory is freed when the last
        reader closes it. Idempotent. In a fork of the maker, only the descriptors are closed."""
        self._close_fd()
        self.unmap()
        self.unlink_name()

    def discard(self) -> None:
        """Remove a block that nobody reads any more, and free its memory at once, although a reader
        may still keep a mapping of it (see `mappings`). Idempotent."""
        if self._linked and os.getpid() == self._maker_pid:
            _cut(self.name)
        self.unlink()

    def unlink_name(self) -> None:
        """Remove the block, but keep its descriptors open: a thread may be writing to it."""
        if not self._linked or os.getpid() != self._maker_pid:
            return
        self._linked = False
        unlink_stray(self.name)
        untrack(self.name)

    def _write_unmapped(self, data: memoryview) -> None:
        if self._fd is None:
            self._fd = _posixshmem.shm_open(f"/{self.name}", os.O_RDWR, mode=0)
        try:
            if not _CAN_PREAD:
                with mmap.mmap(self._fd, self.capacity) as mapping:
                    mapping[: len(data)] = data
                return
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], written)
        finally:
            self._close_fd()  # thousands of files must not cost thousands of descriptors

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class AttachedBlock:
    """A block, whichever process made it, open for reading. It stays readable when it is unlinked.

    Args:
        name: the block's name, without a leading slash.
        size: how many bytes of it may be read.

    Raises:
        BlockNotFound: there is no such block of this user's, or it is shorter than `size`.
        Unavailable: no descriptor is left to open it.
    """

    waits = False
    _what = "shared-memory block"

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        try:
            self._fd = self._open()
        except (OSError, ValueError) as error:
            _raise_if_out_of_descriptors(error)
            raise BlockNotFound(f"no {self._what} {name!r}: {error}") from error
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise BlockNotFound(f"no {self._what} {name!r} of this user's")
            if status.st_size < size:
                raise BlockNotFound(f"{self._what} {name!r} is shorter than {size} bytes")
        except BaseException:
            self.close()
            raise

    def _open(self) -> int:
        fd: int = _posixshmem.shm_open(f"/{self.name}", os.O_RDONLY | os.O_NONBLOCK, mode=0)
        return fd

    def __enter__(self) -> AttachedBlock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` to `end` (default: all), never past `size`.

        Raises:
            BlockNotFound: the block was cut short meanwhile.
        """
        return b"".join(self.chunks(start, end, chunk_bytes=max(1, self.size)))

    def chunks(
        self, start: int = 0, end: int | None = None, *, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[bytes]:
        """The same, `chunk_bytes` at a time (default 128 KiB)."""
        end = self.size if end is None else min(end, self.size)
        if not _CAN_PREAD:
            with self.view() as view:
                for position in range(start, end, chunk_bytes):
                    yield bytes(view[position : min(position + chunk_bytes, end)])
            return
        while start < end:
            chunk = os.pread(self._fd, min(chunk_bytes, end - start), start)
            if not chunk:
                raise BlockNotFound(f"{self._what} {self.name!r} was cut short at {start} bytes")
            yield chunk
            start += len(chunk)

    def map(self) -> mmap.mmap | None:
        """A read-only mapping of the whole block. None where there is no address space for it, or
        where the block is empty."""
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        try:
            return mmap.mmap(self._fd, 0, flags=flags, prot=mmap.PROT_READ)
        except (OSError, ValueError):
            return None

    @contextmanager
    def view(self) -> Iterator[memoryview]:
        """The block's bytes without a copy, read-only, until the `with` ends. Use it only where the
        maker can be trusted not to cut the block short: reading would then end this process with a
        SIGBUS."""
        if not self.size:  # mmap takes a length of 0 as the whole file
            yield memoryview(b"")
            return
        try:
            mapping = mmap.mmap(self._fd, self.size, prot=mmap.PROT_READ)
        except ValueError as error:
            raise BlockNotFound(f"block {self.name!r} was cut short: {error}") from error
        with mapping:
            view = memoryview(mapping)
            try:
                yield view
            finally:
                view.release()


def read_chunks(
    name: str, size: int, start: int = 0, end: int | None = None, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """The bytes of a block, opened with the first chunk; see `AttachedBlock`.

    Raises:
        BlockNotFound, Unavailable: as `AttachedBlock`.
    """
    with AttachedBlock(name, size) as block:
        yield from block.chunks(start, end, chunk_bytes=chunk_bytes)


def _cut(name: str) -> None:
    """Free a block's memory, whoever still has it open or mapped."""
    try:
        fd = _posixshmem.shm_open(f"/{name}", os.O_RDWR, mode=0)
    except OSError as error:  # somebody removed it, or no descriptor is left
        logger.debug("block %s not cut: %s", name, error)
        return
    try:
        os.ftruncate(fd, 0)
    except OSError as error:  # macOS gives a block its size only once
        logger.debug("block %s not cut: %s", name, error)
    finally:
        os.close(fd)


def unlink_stray(name: str) -> None:
    """Remove a block by its name, whoever made it. If it is gone already, nothing is done."""
    try:
        _posixshmem.shm_unlink(f"/{name}")
    except FileNotFoundError:
        pass


def _create_linked() -> tuple[str, int]:
    while True:
        try:
            name = next_name()
            track(name)
        except OSError as error:
            raise _unavailable(error) from error
        try:
            return name, _posixshmem.shm_open(
                f"/{name}", os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600
            )
        except FileExistsError:  # the counter began again; a block has this number: take the next
            continue
        except OSError as error:
            untrack(name)
            raise _unavailable(error) from error
        except BaseException:
            untrack(name)
            raise


def _raise_if_out_of_descriptors(error: Exception) -> None:
    """If no descriptor is left, raise an error that says so: the file itself may exist.

    Raises:
        Unavailable: the error means that no descriptor is left.
    """
    if isinstance(error, OSError) and error.errno in _OUT_OF_DESCRIPTORS:
        raise Unavailable(f"no file can be opened: {error}; {_MORE_DESCRIPTORS}") from error


def _unavailable(error: OSError) -> Unavailable:
    remedy = f"mount a tmpfs at {_DIRECTORY} that this user may write to, or choose another storage"
    if error.errno in _OUT_OF_DESCRIPTORS:
        remedy = _MORE_DESCRIPTORS
    return Unavailable(f"no shared memory can be had: {error}; {remedy}")


def _reserve(fd: int, size: int) -> None:
    try:
        os.ftruncate(fd, size)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno in OUT_OF_SPACE:
            raise NoSpace(_DIRECTORY, size, _free_bytes(fd)) from error
        raise _unavailable(error) from error


def _free_bytes(fd: int) -> int | None:
    try:
        status = os.fstatvfs(fd)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize
