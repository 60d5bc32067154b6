"""What a peer may claim: numbers and texts beyond these are no message."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

__all__ = [
    "LEAST_FRAME_BYTES",
    "MOST_FRAME_BYTES",
    "Count",
    "Duration",
    "FileSize",
    "FrameSize",
    "Key",
    "Room",
]

LEAST_FRAME_BYTES, MOST_FRAME_BYTES = 64 * 1024, 0x7FFF_FFFF
"""What may be set as the largest frame: management messages, and what starts a kernel, must fit."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

FileSize: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**46)]
"""The sum, for all files that there may be, fits into 64 bits."""

FrameSize: TypeAlias = Annotated[int, msgspec.Meta(ge=LEAST_FRAME_BYTES, le=MOST_FRAME_BYTES)]

Room: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**53)]

Key: TypeAlias = Annotated[str, msgspec.Meta(max_length=255)]

Duration: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0)]
"""In seconds; what is not a number is none."""
