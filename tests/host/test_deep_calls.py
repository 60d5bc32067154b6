"""Code that writes when Python has hardly any room left for calls, as in an endless recursion."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from mpkernel.host.streams import StreamWriter
from mpkernel.wire.frames import Channel, Frame, FrameDecoder
from mpkernel.wire.messages import Credit

OTHER, OWN, LAST = 7, 1, 9
ROOM = range(40)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def call_with_room(levels: int, function: Callable[[], object]) -> BaseException | None:
    """Call a function where about so many calls more fit. Returns what it raised."""

    def calls_that_fit(made: int) -> int:
        try:
            return calls_that_fit(made + 1)
        except RecursionError:
            return made

    def call_below(levels: int) -> None:
        if levels:
            call_below(levels - 1)
        else:
            function()

    try:
        call_below(calls_that_fit(0) - levels)
    except BaseException as error:  # noqa: BLE001 (it is what is asked for)
        return error
    return None


def received(theirs: socket.socket) -> list[Frame]:
    return FrameDecoder().feed(theirs.recv(1 << 20))


@pytest.mark.parametrize("levels", ROOM)
def test_frames_of_others_are_written_whatever_room_a_thread_has(
    sockets: tuple[socket.socket, socket.socket], levels: int
) -> None:
    ours, theirs = sockets
    writer = StreamWriter(ours.fileno(), max_frame_bytes=1 << 20)
    for number in range(3):
        writer.post(Credit(number), session=OTHER)
    error = call_with_room(levels, lambda: writer.write(Channel.STREAM, OWN, b"deep"))
    writer.write(Channel.STREAM, LAST, b"last")
    sessions = [frame.session for frame in received(theirs)]
    assert sessions[:3] == [OTHER] * 3
    assert sessions[-1] == LAST
    assert error is None or isinstance(error, RecursionError)
    assert OWN in sessions or error is not None


@pytest.mark.parametrize("levels", ROOM)
def test_a_frame_that_cannot_be_written_is_a_recursion_error(
    sockets: tuple[socket.socket, socket.socket], levels: int
) -> None:
    ours, theirs = sockets
    writer = StreamWriter(ours.fileno(), max_frame_bytes=1 << 20)
    error = call_with_room(levels, lambda: writer.write(Channel.STREAM, OWN, b"deep"))
    writer.write(Channel.STREAM, LAST, b"last")
    assert error is None or isinstance(error, RecursionError)
    assert [frame.session for frame in received(theirs)] == (
        [OWN, LAST] if error is None else [LAST]
    )
