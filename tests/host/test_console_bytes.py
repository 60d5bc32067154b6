"""The binary file of the console: `sys.stdout.buffer`, for each thread."""

from __future__ import annotations

import io
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from host.consoles import (
    SessionStream,
    in_session,
    logged,
    on_a_console,
    proxy,
    run_threads,
)
from waiting import PATIENCE_S


@on_a_console
def test_bytes_of_a_session_come_out_as_its_text(log):
    stream = SessionStream()

    def body() -> None:
        assert sys.stdout.buffer.write("grün\n".encode()) == 6
        assert sys.stdout.buffer.write(memoryview(b"view\n")) == 5
        sys.stdout.buffer.writelines([b"a", b"b\n"])
        with pytest.raises(TypeError, match="bytes-like"):
            print("text", file=sys.stdout.buffer)

    in_session(stream, body)
    assert stream.text == "grün\nview\nab\n"
    assert logged(log) == ""


@on_a_console
def test_a_character_split_over_two_writes_stays_one_character_whoever_writes_between(log):
    streams = SessionStream(), SessionStream()
    halves = "€".encode()[:2], "€".encode()[2:]
    written = threading.Barrier(2)

    def session(stream: SessionStream) -> Callable[[], None]:
        def body() -> None:
            proxy().set_stream(stream)
            buffer = sys.stdout.buffer
            for half in halves:
                buffer.write(half)
                buffer.flush()
                written.wait(PATIENCE_S)

        return body

    run_threads(*(session(stream) for stream in streams))
    assert [stream.text for stream in streams] == ["€", "€"]


@on_a_console
def test_half_a_character_is_not_carried_into_the_next_stream(log):
    first, second = SessionStream(), SessionStream()

    def body() -> None:
        sys.stdout.buffer.write(b"a\xe2\x82")
        proxy().set_stream(second)
        sys.stdout.buffer.write(b"\xffb")

    in_session(first, body)
    assert (first.text, second.text) == ("a\ufffd", "\ufffdb")


@on_a_console
def test_a_binary_file_kept_by_one_session_writes_for_whoever_uses_it(log):
    first, second = SessionStream(), SessionStream()
    kept: list[io.BufferedIOBase] = []
    in_session(first, lambda: kept.append(sys.stdout.buffer))
    in_session(second, lambda: print(kept[0].write(b"mine")))
    kept[0].write(b"nobody's")
    assert (first.text, second.text) == ("", "mine4\n")
    assert logged(log) == "nobody's"


@on_a_console
def test_without_a_stream_the_binary_file_is_the_originals(log):
    sys.stdout.buffer.write(b"\xff")
    assert log.buffer.getvalue() == b"\xff"


@on_a_console
def test_a_text_wrapper_over_the_binary_file_does_not_close_it(log):
    stream = SessionStream()

    def body() -> None:
        wrapper = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
        wrapper.write("wrapped ")
        wrapper.close()
        with io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8") as wrapper:
            wrapper.write("on")

    in_session(stream, body)
    assert stream.text == "wrapped on"


@on_a_console
def test_what_is_no_writing_of_text_fails_as_for_pythons_own_stream(log):
    plain = io.TextIOWrapper(io.FileIO("/dev/null", "w"))
    found: list[tuple[str, str]] = []

    def outcome(misuse: Callable[[Any], object], stream: object) -> str:
        with pytest.raises((io.UnsupportedOperation, TypeError)) as raised:
            misuse(stream)
        return repr(raised.value)

    def body() -> None:
        for misuse in (
            lambda stream: stream.read(),
            lambda stream: stream.readline(),
            lambda stream: stream.write(b""),
            lambda stream: stream.buffer.write(""),
            pickle.dumps,
        ):
            found.append((outcome(misuse, sys.stdout), outcome(misuse, plain)))

    in_session(SessionStream(), body)
    assert len(found) == 5
    assert [ours for ours, _ in found] == [pythons for _, pythons in found]
