"""What a Pipe has not taken: kept in order, counted, and let go of as it is written."""

from __future__ import annotations

from mpkernel.server.links.backlog import Backlog


def kept(backlog: Backlog) -> bytes:
    return b"".join(backlog.first())


def test_it_gives_back_what_was_kept_whatever_is_written_of_it_at_once() -> None:
    frames = [(b"head-%d" % number, b"body-%d" % number) for number in range(3)]
    whole = b"".join(header + payload for header, payload in frames)
    for count in range(1, len(whole) + 1):
        backlog = Backlog(1000)
        for header, payload in frames:
            backlog.keep(header, payload)
        left = whole
        while left:
            assert (kept(backlog), backlog.byte_count) == (left, len(left))
            backlog.written(len(left[:count]))
            left = left[count:]
        assert backlog.byte_count == 0
        assert backlog.first() == []


def test_of_a_frame_that_the_pipe_took_in_part_it_keeps_the_rest() -> None:
    for written in range(len(b"head" + b"body") + 1):
        backlog = Backlog(1000)
        backlog.keep(b"head", b"body", written=written)
        assert kept(backlog) == b"headbody"[written:]
        assert backlog.byte_count == 8 - written


def test_a_payload_is_not_copied() -> None:
    payload = bytes(1000)
    backlog = Backlog(1)
    backlog.keep(b"head", payload, written=500)
    assert backlog.first()[0].obj is payload


def test_it_has_room_up_to_its_limit() -> None:
    backlog = Backlog(10)
    backlog.keep(b"head", b"body")
    assert backlog.has_room(2)
    assert not backlog.has_room(3)
    backlog.clear()
    assert backlog.has_room(10)
    assert backlog.byte_count == 0
