"""The management messages."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpkernel.errors import ProtocolError
from mpkernel.wire import messages as m

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
    m.WantConsole(),
    m.WantDrain("3 threads wait"),
]


@pytest.mark.parametrize("message", EXAMPLES_DOWN, ids=repr)
def test_every_message_down_comes_back_as_it_went(message: m.DownMessage) -> None:
    assert m.decode_down(m.encode(message)) == message


@pytest.mark.parametrize("message", EXAMPLES_UP, ids=repr)
def test_every_message_up_comes_back_as_it_went(message: m.UpMessage) -> None:
    assert m.decode_up(m.encode(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(payload: bytes) -> None:
    for decode in (m.decode_up, m.decode_down):
        try:
            decode(payload)
        except ProtocolError:
            pass


def test_a_message_for_the_other_direction_is_refused() -> None:
    with pytest.raises(ProtocolError):
        m.decode_up(m.encode(m.Shutdown()))


def test_a_known_tag_with_a_wrong_field_is_refused() -> None:
    with pytest.raises(ProtocolError):
        m.decode_up(msgspec.msgpack.encode({"type": "credit", "bytes": "many"}))
