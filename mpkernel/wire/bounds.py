"""Bounds on the numbers and texts of messages. A message beyond these bounds is refused."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

__all__ = [
    "LEAST_FRAME_BYTES",
    "MOST_COUNTED",
    "MOST_FRAME_BYTES",
    "Count",
    "Duration",
    "FileSize",
    "FrameSize",
    "Key",
    "Room",
]

LEAST_FRAME_BYTES, MOST_FRAME_BYTES = 64 * 1024, 0x7FFF_FFFF
"""Between which two numbers `max_frame_bytes` may lie. Into the smaller one, every management
message and what starts a kernel must fit."""

MOST_COUNTED = 2**53

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MOST_COUNTED)]

FileSize: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**46)]
"""The size of one file. It is bounded so that the sum of all files' sizes has 64 bits at most."""

FrameSize: TypeAlias = Annotated[int, msgspec.Meta(ge=LEAST_FRAME_BYTES, le=MOST_FRAME_BYTES)]

Room: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**53)]

Key: TypeAlias = Annotated[str, msgspec.Meta(max_length=255)]

Duration: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0)]
"""In seconds. NaN is refused, too: it is not greater than or equal to 0."""
