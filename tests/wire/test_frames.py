"""The frame codec, tested with bytes alone."""

from __future__ import annotations

import gc
import itertools
import struct

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpkernel.errors import ProtocolError
from mpkernel.wire.frames import (
    HEADER_BYTES,
    Channel,
    Frame,
    FrameDecoder,
    encode_header,
)

frames = st.builds(
    Frame,
    st.sampled_from(Channel),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=600),
)


def encoded(frame: Frame) -> bytes:
    return encode_header(frame.channel, frame.session, len(frame.payload)) + frame.payload


@given(st.lists(frames, max_size=20), st.data())
def test_any_chunking_of_any_interleaving_gives_the_frames_back(
    sent: list[Frame], data: st.DataObject
) -> None:
    stream = b"".join(encoded(frame) for frame in sent)
    decoder = FrameDecoder(buffer_bytes=data.draw(st.integers(HEADER_BYTES, 700)))
    got: list[Frame] = []
    position = 0
    while position < len(stream):
        step = data.draw(st.integers(1, len(stream) - position))
        got += decoder.feed(stream[position : position + step])
        position += step
    decoder.finish()
    assert got == sent


@given(st.lists(frames, min_size=1, max_size=5), st.data())
def test_every_truncation_is_noticed(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(encoded(frame) for frame in sent)
    ends = {0}
    for frame in sent:
        ends.add(max(ends) + HEADER_BYTES + len(frame.payload))
    cut = data.draw(st.integers(1, len(stream) - 1).filter(lambda n: n not in ends))
    decoder = FrameDecoder()
    decoder.feed(stream[:cut])
    with pytest.raises(ProtocolError, match="into a frame"):
        decoder.finish()


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_a_header_is_either_possible_or_refused_at_once(
    length: int, channel: int, session: int
) -> None:
    decoder = FrameDecoder(max_frame_bytes=4096)
    header = struct.pack("!iBI", length, channel, session)
    if 5 <= length <= 4096 and channel < len(Channel):
        payload = b"x" * (length - 5)
        assert decoder.feed(header + payload) == [Frame(Channel(channel), session, payload)]
    else:
        with pytest.raises(ProtocolError):
            decoder.feed(header)


def test_the_prefix_of_an_eight_byte_length_is_refused() -> None:
    with pytest.raises(ProtocolError, match="-1"):
        FrameDecoder().feed(struct.pack("!iQ", -1, 5 << 30))


def test_the_codec_reads_what_a_multiprocessing_connection_writes() -> None:
    from multiprocessing import Pipe

    reader, writer = Pipe(duplex=False)
    with reader, writer:
        writer.send_bytes(struct.pack("!BI", Channel.CONTROL, 7) + b"hello")
        import os

        assert FrameDecoder().feed(os.read(reader.fileno(), 100)) == [
            Frame(Channel.CONTROL, 7, b"hello")
        ]


@pytest.mark.parametrize("size", [0, 1, 255, 256 * 1024 - HEADER_BYTES, 64 * 1024 * 1024])
@pytest.mark.parametrize("chunk", [4096, 65536 + 1])
def test_a_payload_of_any_size_arrives_whole_between_two_small_ones(size: int, chunk: int) -> None:
    small = Frame(Channel.STREAM, 1, b"small")
    large = Frame(Channel.STREAM, 2, bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    stream = memoryview(encoded(small) + encoded(large) + encoded(small))
    decoder = FrameDecoder()
    got: list[Frame] = []
    for position in range(0, len(stream), chunk):
        got += decoder.feed(stream[position : position + chunk])
    decoder.finish()
    assert got == [small, large, small]


def test_a_false_length_costs_no_memory_before_the_bytes_arrive() -> None:
    decoder = FrameDecoder()
    before = psutil.Process().memory_info().rss
    decoder.feed(encode_header(Channel.STREAM, 1, 200 * 1024 * 1024))
    assert psutil.Process().memory_info().rss - before < 16 * 1024 * 1024
    assert decoder.is_inside_large_frame


def test_a_large_frame_is_read_where_it_stays() -> None:
    decoder = FrameDecoder(buffer_bytes=4096)
    payload = bytes(range(256)) * 4096
    stream = encoded(Frame(Channel.STREAM, 1, payload))
    assert decoder.feed(stream[:5000]) == []
    assert len(decoder.get_buffer()) == len(stream) - 5000
    assert decoder.feed(stream[5000:]) == [Frame(Channel.STREAM, 1, payload)]
    assert len(decoder.get_buffer()) == 4096


def test_half_a_large_frame_is_collected_without_an_error() -> None:
    decoder = FrameDecoder()
    decoder.feed(encode_header(Channel.STREAM, 1, 1_000_000) + bytes(100))
    assert decoder.is_inside_large_frame
    circle: list[object] = [decoder]
    circle.append(circle)
    del decoder, circle
    gc.collect()  # pytest makes an error in a finalizer the test's


def test_a_stream_that_ends_inside_a_large_frame_is_cut_off() -> None:
    decoder = FrameDecoder(buffer_bytes=4096)
    decoder.feed(encode_header(Channel.STREAM, 1, 1_000_000))
    with pytest.raises(ProtocolError, match="0 bytes into a frame"):
        decoder.finish()


@settings(max_examples=20)
@given(st.lists(st.integers(0, 20_000), max_size=30))
def test_reading_into_the_decoders_own_buffer_is_the_same(sizes: list[int]) -> None:
    sent = [Frame(Channel.STREAM, n, bytes([n % 256]) * size) for n, size in enumerate(sizes)]
    stream = b"".join(encoded(frame) for frame in sent)
    decoder = FrameDecoder(buffer_bytes=1024)
    got: list[Frame] = []
    position = 0
    while position < len(stream):
        room = decoder.get_buffer()
        count = min(len(room), len(stream) - position)
        assert count > 0
        room[:count] = stream[position : position + count]
        got += decoder.received(count)
        position += count
    assert got == sent


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 150_000), max_size=12),
    st.lists(st.integers(2_000, 200_000), min_size=1, max_size=10),
)
def test_a_read_may_end_in_any_of_the_buffers_that_it_fills(
    sizes: list[int], steps: list[int]
) -> None:
    sent = [Frame(Channel.STREAM, n, bytes([n % 256]) * size) for n, size in enumerate(sizes)]
    rest = memoryview(b"".join(encoded(frame) for frame in sent))
    decoder = FrameDecoder()
    got: list[Frame] = []
    for step in itertools.cycle(steps):
        if not rest:
            break
        count = left = min(step, len(rest))
        for buffer in decoder.get_buffers():
            part = min(left, len(buffer))
            buffer[:part] = rest[:part]
            rest, left = rest[part:], left - part
        got += decoder.received(count - left)
    decoder.finish()
    assert got == sent


def test_the_frames_before_a_malformed_one_are_not_lost() -> None:
    good = Frame(Channel.STREAM, 1, b"good")
    decoder = FrameDecoder()
    assert decoder.feed(encoded(good) + b"\xff" * 20) == [good]
    with pytest.raises(ProtocolError):
        decoder.feed(b"more")


def test_a_message_over_the_limit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ProtocolError, match="max_frame_bytes"):
        encode_header(Channel.STREAM, 1, 100, max_frame_bytes=100)


def test_frames_over_the_number_asked_for_are_left_in_order() -> None:
    decoder = FrameDecoder()
    sent = [Frame(Channel.STREAM, number, b"x" * (number % 3)) for number in range(10)]
    data = b"".join(map(encoded, sent))
    decoder.get_buffer()[: len(data)] = data
    got = decoder.received(len(data), most_frames=4)
    assert got == sent[:4]
    while decoder.has_frames_left:
        some = decoder.received(0, most_frames=4)
        assert len(some) <= 4
        got += some
    assert got == sent
    decoder.finish()
