"""An input: the bytes that one peer sends during its life, read by read; and how they are kept in a
file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

__all__ = ["Input", "decode_input", "encode_input", "frames_in"]

_decode = msgspec.msgpack.Decoder(list[tuple[int, bytes]]).decode


class Input(NamedTuple):
    """What is fed to a peer during one life.

    Attributes:
        pieces: where to, and what, one read (or one action of a client) after the other.
        frames: how many mutated frames end in each piece.
    """

    pieces: list[tuple[int, bytes]]
    frames: list[int]


def encode_input(pieces: Sequence[tuple[int, bytes]]) -> bytes:
    """The input as bytes for a file, to be replayed."""
    return msgspec.msgpack.encode(list(pieces))


def decode_input(data: bytes) -> list[tuple[int, bytes]]:
    """Read an input. `ValueError` if the bytes are not one."""
    return _decode(data)


def frames_in(data: bytes) -> list[tuple[bytes, bytes]]:
    """The head (channel and session) and the payload of each whole frame."""
    frames: list[tuple[bytes, bytes]] = []
    begin = 0
    while begin + 9 <= len(data):
        end = begin + 4 + max(5, int.from_bytes(data[begin : begin + 4], "big"))
        if end > len(data):
            break
        frames.append((data[begin + 4 : begin + 9], data[begin + 9 : end]))
        begin = end
    return frames
