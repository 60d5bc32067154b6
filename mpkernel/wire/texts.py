"""Texts of any length, cut into pieces that fit into messages of any size that may be set."""

from __future__ import annotations

from collections.abc import Sequence

from mpkernel.wire.bounds import LEAST_FRAME_BYTES

__all__ = ["PIECE_BYTES", "most_bytes", "pieces"]

PIECE_BYTES = LEAST_FRAME_BYTES - 4096
"""How many bytes a piece has at the most, encoded. The rest of its message has some room, too."""


def most_bytes(text: str) -> int:
    """An upper bound on the bytes of the encoded text, from its length alone."""
    return len(text) if text.isascii() else 4 * len(text)


def pieces(text: str) -> Sequence[str]:
    """The text, cut into as few pieces as `most_bytes` allows. An empty text is one piece."""
    size = most_bytes(text)
    if size <= PIECE_BYTES:
        return (text,)
    chars = PIECE_BYTES * len(text) // size
    return [text[at : at + chars] for at in range(0, len(text), chars)]
