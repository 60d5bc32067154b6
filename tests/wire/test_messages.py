"""The management messages."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpkernel.errors import ProtocolError
from mpkernel.wire import before_host as b
from mpkernel.wire import messages as m

NO_UTF8 = "é, " + os.fsdecode(b"\xff.py")
"""A text that names a path which is no UTF-8."""
EXAMPLES_DOWN = [
    m.Warm(["package.module"], True),
    m.Setup(
        "/a/b.py",
        ["b.py", "--x"],
        1 << 28,
        1 << 26,
        m.FileStorage("shared_memory", None, 1 << 30, None, 1 << 26, 30.0),
        m.Stopping(2.0, 16),
    ),
    m.CreateKernel("s1", "module:main", b"\x00\xff", 8 << 20),
    m.StopKernel(),
    m.Credit(12),
    m.FilesFreed(["abc.png", "b"]),
    m.GiveUpFree(),
    m.ConsoleText("stderr", "oh\n", 12.5),
    m.Ping(3),
    m.Shutdown(),
]
EXAMPLES_UP = [
    m.Warmed(["package"], False),
    m.Ready(1),
    m.Pong(3),
    m.KernelCreated(140_000_000_000_000),
    m.KernelExited(),
    m.KernelExited("Traceback…"),
    m.Credit(12),
    m.FileStored("abc.png", "block", "mpk-1-2-3-4", 3, "image/png"),
    m.FileRemoved("abc.png"),
    m.ShortOfMemory(),
    m.WantConsole(),
    m.WantDrain("3 threads wait"),
]


@pytest.mark.parametrize("message", EXAMPLES_DOWN, ids=repr)
def test_every_message_down_comes_back_as_it_went(message: m.DownMessage) -> None:
    assert m.decode_down(m.encode(message)) == message


@pytest.mark.parametrize("message", EXAMPLES_UP, ids=repr)
def test_every_message_up_comes_back_as_it_went(message: m.UpMessage) -> None:
    assert m.decode_up(m.encode(message)) == message


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (b.Preparing(NO_UTF8), "text"),
        (b.NotPrepared(NO_UTF8, NO_UTF8), "remedy"),
        (b.UnfitForHost(NO_UTF8, ""), "what"),
        (b.NotPlaced(NO_UTF8, ""), "what"),
        (b.NotConfined(NO_UTF8, ""), "what"),
        (m.WantDrain(NO_UTF8), "reason"),
        (m.KernelExited(NO_UTF8), "error"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_a_text_for_people_arrives_whatever_it_names(message: m.UpMessage, field: str) -> None:
    assert getattr(m.decode_up(m.encode(message)), field) == "é, \\udcff.py"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(payload: bytes) -> None:
    for decode in (m.decode_up, m.decode_down):
        try:
            decode(payload)
        except ProtocolError:
            pass


@pytest.mark.parametrize(
    "more",
    [
        b"\x91" * 100_000 + b"\0",  # nested too deeply
        b"\x81\0" * 100_000 + b"\0",
        b"\xa2\x89\x82",  # text that is no UTF-8
        b"\xdd\xff\xff\xff\xff",  # a list that claims four billion elements
    ],
)
@pytest.mark.parametrize("decode", [m.decode_up, m.decode_down])
def test_what_msgpack_can_hold_and_no_message_does_is_refused(
    decode: Callable[[bytes], object], more: bytes
) -> None:
    for tag, name in (("credit", "more"), ("warmed", "names"), ("files_freed", "keys")):
        head = b"\x82" + b"".join(map(msgspec.msgpack.encode, ("type", tag, name)))
        with pytest.raises(ProtocolError):
            decode(head + more)


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        (m.Credit(1), "bytes", -1),
        (m.Credit(1), "bytes", 2**64 - 1),
        (m.CreateKernel("s", "m:f", b"", 1), "window_bytes", 0),
        (m.StopKernel(0.0), "patience_s", -1.0),
        (m.StopKernel(0.0), "patience_s", math.nan),
    ],
)
def test_numbers_that_nobody_means_are_refused_by_a_host(
    message: m.DownMessage, field: str, value: float
) -> None:
    with pytest.raises(ProtocolError):
        m.decode_down(m.encode(msgspec.structs.replace(message, **{field: value})))


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        (m.Credit(1), "bytes", -1),
        (m.Running(1, 0), "begun", -1),
        (m.Running(1, 0), "done", 2**64 - 1),
        (m.FileStored("k", "block", "mpk-1-2-3-4", 3, "image/png"), "size", -1),
        (m.FileStored("k", "block", "mpk-1-2-3-4", 3, "image/png"), "size", 2**63),
    ],
)
def test_numbers_that_nobody_means_are_refused_by_a_server(
    message: m.UpMessage, field: str, value: int
) -> None:
    with pytest.raises(ProtocolError):
        m.decode_up(m.encode(msgspec.structs.replace(message, **{field: value})))


def test_a_message_for_the_other_direction_is_refused() -> None:
    with pytest.raises(ProtocolError):
        m.decode_up(m.encode(m.Shutdown()))


def test_a_known_tag_with_a_wrong_field_is_refused() -> None:
    with pytest.raises(ProtocolError):
        m.decode_up(msgspec.msgpack.encode({"type": "credit", "bytes": "many"}))
