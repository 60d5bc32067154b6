"""`FrameParser`: whole frames come out, wherever their bytes are cut."""

from __future__ import annotations

import os
import struct
from itertools import pairwise
from multiprocessing import Pipe

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpkernel.aio import FrameError, FrameParser

frames_of_any_size = st.lists(st.binary(max_size=300), max_size=8)


def short(frame: bytes) -> bytes:
    return struct.pack("!i", len(frame)) + frame


def long(frame: bytes) -> bytes:
    return struct.pack("!iQ", -1, len(frame)) + frame


def take_all(parser: FrameParser) -> list[bytes]:
    frames = []
    while (frame := parser.next_frame()) is not None:
        frames.append(frame)
    return frames


@settings(deadline=None)
@given(
    frames=frames_of_any_size,
    cuts=st.lists(st.integers(min_value=0, max_value=3000), max_size=12),
    as_long=st.booleans(),
)
def test_frames_come_out_whole_and_in_order_however_their_bytes_are_cut(
    frames: list[bytes], cuts: list[int], as_long: bool
) -> None:
    stream = b"".join(map(long if as_long else short, frames))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parser = FrameParser()
    taken = []
    for start, end in pairwise(edges):
        parser.feed(stream[start:end])
        taken += take_all(parser)
    assert taken == frames
    assert not parser.unfinished


@settings(deadline=None)
@given(frames=frames_of_any_size, fed_in_one=st.booleans())
def test_frames_may_be_left_in_the_parser_while_more_is_fed(
    frames: list[bytes], fed_in_one: bool
) -> None:
    parser = FrameParser()
    for part in [b"".join(map(short, frames))] if fed_in_one else map(short, frames):
        parser.feed(part)
    assert take_all(parser) == frames


@pytest.mark.parametrize("size", [0, 1, 16384, 16385])
def test_what_a_real_connection_writes_is_understood(size: int) -> None:
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        writer.send_bytes(b"x" * size)
        parser = FrameParser()
        while (frame := parser.next_frame()) is None:
            parser.feed(os.read(reader.fileno(), 1000))
    assert frame == b"x" * size


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_a_stream_that_ends_inside_a_frame_is_unfinished(count: int) -> None:
    parser = FrameParser()
    assert not parser.unfinished
    parser.feed(short(b"body")[:count])
    assert parser.next_frame() is None
    assert parser.unfinished


def test_an_empty_frame_is_a_frame() -> None:
    parser = FrameParser()
    parser.feed(short(b""))
    assert parser.next_frame() == b""
    assert parser.next_frame() is None


def test_a_frame_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    parser = FrameParser(max_frame_bytes=10)
    parser.feed(short(b"x" * 10) + struct.pack("!i", 11))
    assert parser.next_frame() == b"x" * 10
    with pytest.raises(FrameError, match="frame of 11 bytes is above the limit of 10 bytes"):
        parser.next_frame()


def test_the_limit_holds_for_long_lengths_too() -> None:
    parser = FrameParser()
    parser.feed(struct.pack("!iQ", -1, 2**64 - 1))
    with pytest.raises(FrameError, match=f"frame of {2**64 - 1} bytes"):
        parser.next_frame()


@settings(deadline=None)
@given(length=st.integers(min_value=-(2**31), max_value=-2))
def test_a_negative_length_is_refused_again_and_again(length: int) -> None:
    parser = FrameParser()
    parser.feed(struct.pack("!i", length))
    for _ in range(2):
        with pytest.raises(FrameError, match=f"length prefix {length} is negative"):
            parser.next_frame()
        parser.feed(short(b"more"))
