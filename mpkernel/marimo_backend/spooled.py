"""Long texts of a journal (uploaded files), kept in blocks of shared memory instead of in it.

The server writes them, on a thread; a host that brings a session back reads them where `pickle`
meets them in a command. There is nothing but text in the blocks. They are removed with the last
reference to the text, and, like all blocks, with the process that made them.
"""

from __future__ import annotations

import logging
import threading
import weakref

from shm import AttachedBlock, Block, ShmError

__all__ = ["Spooled", "read_spooled"]

logger = logging.getLogger(__name__)

_PIECE_CHARS = 1024 * 1024  # the interpreter is held for no longer than it takes to encode these


class Spooled:
    """A text that is written to shared memory, and kept here until it is.

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
        self._blocks: list[Block] = []
        self._pieces: tuple[tuple[str, int], ...] = ()
        weakref.finalize(self, _remove, self._blocks)
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
                block = Block.create(len(piece))
                self._blocks.append(block)
                block.write(memoryview(piece))
                pieces.append((block.name, len(piece)))
        except ShmError as error:
            self._lose(error)
            return
        self._pieces = tuple(pieces)
        self._text = None

    def _lose(self, error: Exception) -> None:
        logger.warning("an uploaded file of %d bytes is not kept: %s", self.size, error)
        self.is_lost = True
        self._text = None
        _remove(self._blocks)


def read_spooled(pieces: tuple[tuple[str, int], ...]) -> str | None:
    """The text of these blocks, by their names and sizes. None where they are gone: an element that
    is given that starts with its own value."""
    texts = []
    for name, size in pieces:
        try:
            with AttachedBlock(name, size) as block:
                texts.append(block.read().decode(errors="surrogatepass"))
        except ShmError as error:
            logger.warning("an uploaded file cannot be read any more: %s", error)
            return None
    return "".join(texts) if pieces else None


def _remove(blocks: list[Block]) -> None:
    while blocks:
        blocks.pop().unlink()
