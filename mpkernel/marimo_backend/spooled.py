"""Long texts of a journal (uploaded files), kept outside of the server's own memory: in blocks of
shared memory, and where that is full or cannot be had, in private temporary files.

The server writes them, on a thread; a host that brings a session back reads them where `pickle`
meets them in a command. There is nothing but text in the blocks and files. They are removed with
the last reference to the text. What a server leaves that is killed is removed at the next start.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Iterable

from shm import AttachedBlock, Block, ShmError, Unavailable
from shm.sources import AttachedFile, BlockSource, TempFileSource
from shm.tempdir import TempDirectory

__all__ = ["Spooled", "read_spooled"]

logger = logging.getLogger(__name__)

_PIECE_CHARS = 1024 * 1024  # the interpreter is held for no longer than it takes to encode these


_SHARED_MEMORY = "/dev/shm"

_Piece = tuple[str, str, int]
"""Of what kind the place of a piece is, its name or path, and how many bytes are in it."""

_files = TempDirectory()
atexit.register(_files.close)


class Spooled:
    """A text that is written to shared memory or temporary files, and kept here until it is.

    Args:
        text: it.

    Attributes:
        size: its length in characters.
        is_lost: whether it could not be written, and is not kept any more.
    """

    def __init__(self, text: str) -> None:
        self.size = len(text)
        self.is_lost = False
        self._text: str | None = text
        self._places: list[Block | TempFileSource] = []
        self._pieces: tuple[_Piece, ...] = ()
        weakref.finalize(self, _remove, self._places)
        try:
            threading.Thread(target=self._write, name="mpkernel-spool", daemon=True).start()
        except RuntimeError as error:  # no thread can be had
            self._lose(error)

    def __reduce__(self) -> tuple[object, ...]:
        text = self._text
        return (str, (text,)) if text is not None else (read_spooled, (self._pieces,))

    def _write(self) -> None:
        text = self._text
        assert text is not None
        pieces = []
        try:
            for start in range(0, len(text), _PIECE_CHARS):
                piece = text[start : start + _PIECE_CHARS].encode(errors="surrogatepass")
                place = _written(piece)
                self._places.append(place)
                pieces.append(_piece_in(place, len(piece)))
        except ShmError as error:
            self._lose(error)
            return
        self._pieces = tuple(pieces)
        self._text = None

    def _lose(self, error: Exception) -> None:
        logger.warning("an uploaded file of %d bytes is not kept: %s", self.size, error)
        self.is_lost = True
        self._text = None
        _remove(self._places)


def read_spooled(pieces: Iterable[_Piece]) -> str | None:
    """The text that is in these places. None where they are gone: an element that is given that
    starts with its own value."""
    texts = []
    for kind, location, size in pieces:
        attached = AttachedFile if kind == TempFileSource.kind else AttachedBlock
        try:
            with attached(location, size) as place:
                texts.append(place.read().decode(errors="surrogatepass"))
        except ShmError as error:
            logger.warning("an uploaded file cannot be read any more: %s", error)
            return None
    return "".join(texts) if texts else None


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
    """Whether apps have room enough left in shared memory, for files and semaphores of theirs."""
    try:
        status = os.statvfs(_SHARED_MEMORY)
    except OSError:  # it is no file system (macOS), or cannot be had
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


def _piece_in(place: Block | TempFileSource, size: int) -> _Piece:
    if isinstance(place, Block):
        return BlockSource.kind, place.name, size
    return place.kind, place.location, size


def _remove(places: list[Block | TempFileSource]) -> None:
    while places:
        place = places.pop()
        if isinstance(place, Block):
            place.unlink()
        else:
            place.free()
