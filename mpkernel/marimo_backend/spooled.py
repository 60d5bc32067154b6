"""Long texts that a page sent (uploaded files), kept outside of the server's own memory: in blocks
of shared memory or, where that is full or does not exist, in private temporary files.

    page ─▶ uploads ─▶ Spooled ─▶ blocks, files ─▶ the app's process
              │                                        ▲
              └─▶ marimo ─▶ the command ─▶ the journal ┘

`uploads` writes a text while the page is still sending it. What marimo sees in its place is a short
`placeholder`; in the command it becomes `Spooled` again. That goes to the app's process as the
names of blocks and files, and when it is unpickled there, the text is read from them. A process on
another machine could not read them: it is sent the text itself. The journal keeps the same
`Spooled`, to restore the session. The blocks and files hold the text as it was in the page's JSON,
without its quotes. They are removed with the last reference to `Spooled`; those of a server that
was killed are removed when the next one starts.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import pickle
import secrets
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import msgspec

from mpkernel.wire.messages import UNDECODABLE
from shm import AttachedBlock, Block, ShmError, Unavailable
from shm.sources import AttachedFile, BlockSource, TempFileSource
from shm.tempdir import TempDirectory

__all__ = ["Apart", "Spooled", "is_placeholder", "pickled", "read_spooled", "spooled_of"]

logger = logging.getLogger(__name__)

_SHARED_MEMORY = "/dev/shm"
_PLACEHOLDER = "mpkernel-text:"
_PLACEHOLDER_CHARS = len(_PLACEHOLDER) + 32

_Piece = tuple[str, str | bytes, int]
"""A piece of a text: the kind of its place, its name or path there (or the piece itself), and its
size in bytes."""

_MEMORY = "memory"

_MOST_REMOVED_AT_ONCE = 16

_files = TempDirectory()


class Spooled:
    """A text that is kept outside of this process's memory. Written by one thread at a time.

    Attributes:
        placeholder: a short text in its place, while marimo handles the request in which the text
            came. Only the page and marimo know it.
        size: its bytes.
        is_lost: whether some of it could not be kept outside. Then it can be sent to a process, if
            it is no larger than a message may be, but the journal does not keep it.
    """

    def __init__(self) -> None:
        self.placeholder = _PLACEHOLDER + secrets.token_hex(16)
        self.size = 0
        self.is_lost = False
        self._places: list[Block | TempFileSource] = []
        self._pieces: list[_Piece] = []
        weakref.finalize(self, _remove_soon, self._places).atexit = False
        _by_placeholder[self.placeholder] = self

    def __reduce__(self) -> tuple[object, ...]:
        return read_spooled, (tuple(self._pieces),)

    def whole(self) -> tuple[_Piece, ...]:
        """The text itself, as a single piece.

        Raises:
            ShmError: what was kept outside cannot be read any more.
        """
        content = b"".join(_read(*piece) for piece in self._pieces)
        return ((_MEMORY, content, len(content)),)

    def append(self, data: bytes) -> None:
        """Write the next bytes. When there is no room for them, they stay in this process's
        memory."""
        self.size += len(data)
        try:
            place = _written(data)
        except Unavailable as error:
            if not self.is_lost:
                logger.warning("an uploaded file is not kept for a restart of its app: %s", error)
            self.is_lost = True
            self._pieces.append((_MEMORY, data, len(data)))
            return
        self._places.append(place)
        location = place.name if isinstance(place, Block) else place.location
        kind = BlockSource.kind if isinstance(place, Block) else place.kind
        self._pieces.append((kind, location, len(data)))

    def skip(self, count: int) -> None:
        """Count bytes that are over the limit of the request: they are not kept."""
        self.size += count
        self.is_lost = True


_by_placeholder: weakref.WeakValueDictionary[str, Spooled] = weakref.WeakValueDictionary()


@atexit.register
def _remove_all() -> None:
    for text in list(_by_placeholder.values()):
        _remove(text._places)
    _files.close()


class Apart:
    """A value of a page, whose long texts are kept apart. Unpickled in another process, it is the
    whole value.

    Args:
        value: the value, with a `Spooled` in the place of each long text.
        texts: all of these `Spooled`.
    """

    def __init__(self, value: Any, texts: Sequence[Spooled]) -> None:
        self.value = value
        self.texts = tuple(texts)

    def __reduce__(self) -> tuple[object, ...]:
        return _itself, (self.value,)

    @property
    def size_apart(self) -> int:
        """How many bytes are kept apart."""
        return sum(text.size for text in self.texts)

    @property
    def is_lost(self) -> bool:
        """Whether some of it could not be kept."""
        return any(text.is_lost for text in self.texts)


def pickled(command: object, *, for_far: bool) -> bytes:
    """A command for an app's process.

    Args:
        command: the command.
        for_far: whether the process is on another machine.

    Raises:
        ShmError: an uploaded file cannot be read any more.
        Exception: it cannot be pickled; as `pickle.dumps`.
    """
    if not for_far:
        return pickle.dumps(command, pickle.HIGHEST_PROTOCOL)
    written = io.BytesIO()
    _WholePickler(written, pickle.HIGHEST_PROTOCOL).dump(command)
    return written.getvalue()


class _WholePickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        """Texts are pickled whole."""
        if isinstance(value, Spooled):
            return read_spooled, (value.whole(),)
        return NotImplemented


def is_placeholder(text: str) -> bool:
    """Whether a text has the form of a placeholder."""
    return len(text) == _PLACEHOLDER_CHARS and text.startswith(_PLACEHOLDER)


def spooled_of(placeholder: str) -> Spooled | None:
    """The text that has this placeholder; None when it is not kept any more."""
    return _by_placeholder.get(placeholder)


def read_spooled(pieces: Sequence[_Piece]) -> str | None:
    """In the app's process: the text that is in these places. None when a place is gone, or what it
    holds is not text: an element that gets None as the contents of a file keeps its own value."""
    try:
        content = b"".join([b'"', *(_read(*piece) for piece in pieces), b'"'])
        text: str = msgspec.json.decode(content, type=str)
    except (ShmError, OSError, MemoryError, *UNDECODABLE) as error:
        logger.warning("an uploaded file cannot be read: %s", error)
        return None
    return text


def _read(kind: str, location: str | bytes, size: int) -> bytes:
    if isinstance(location, bytes):
        return location
    attached = AttachedFile if kind == TempFileSource.kind else AttachedBlock
    with attached(location, size) as place:
        return place.read()


def _written(data: bytes) -> Block | TempFileSource:
    """A new place with these bytes.

    Raises:
        Unavailable: there is no room for them, neither in shared memory nor on the disk.
    """
    if _is_half_free():
        try:
            return _written_block(data)
        except Unavailable as error:
            logger.debug("an uploaded file goes to a temporary file: %s", error)
    return _files.write(memoryview(data))


def _is_half_free() -> bool:
    """Whether shared memory has enough room left for files and semaphores of apps: half of it."""
    try:
        status = os.statvfs(_SHARED_MEMORY)
    except OSError:  # shared memory is not a file system (macOS), or does not exist
        return True
    return status.f_bavail * 2 >= status.f_blocks


def _written_block(data: bytes) -> Block:
    block = Block.create(len(data))
    try:
        block.write(memoryview(data))
    except BaseException:
        block.unlink()
        raise
    return block


def _remove_soon(places: list[Block | TempFileSource]) -> None:
    """Remove places that nobody needs any more. If this takes long, it is done on another thread,
    since the last reference is dropped on the event loop's thread."""
    if len(places) > _MOST_REMOVED_AT_ONCE:
        try:
            threading.Thread(target=_remove, args=(places,), name="mpkernel-uploads").start()
            return
        except RuntimeError as error:
            logger.debug("there is no thread to remove an uploaded file: %s", error)
    _remove(places)


def _remove(places: list[Block | TempFileSource]) -> None:
    while places:
        place = places.pop()
        if isinstance(place, Block):
            place.unlink()
        else:
            place.free()


def _itself(value: Any) -> Any:
    return value
