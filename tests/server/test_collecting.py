"""A flood of small messages collects in the Pipe for a moment; nothing else waits."""

from __future__ import annotations

from mpkernel.server.links.collecting import Collecting


class Reads:
    """Reads of a Pipe, one after another."""

    def __init__(self) -> None:
        self._collecting = Collecting()
        self._now = 1000.0
        self._frames = self._bytes = 0
        self.sent = 0

    def read(self, after_s: float, frames: int = 1, frame_bytes: int = 200) -> float:
        """Read so many frames, so long after the last read. Returns the pause."""
        self._now += after_s
        self._frames += frames
        self._bytes += frames * frame_bytes
        return self._collecting.pause_s(self._now, self._frames, self._bytes, self.sent)

    def flood(self) -> None:
        """Read until there is a pause."""
        for _ in range(40):
            if self.read(10e-6):
                return
        raise AssertionError("no pause came")


def test_a_flood_is_read_from_time_to_time() -> None:
    reads = Reads()
    reads.flood()
    for _ in range(100):
        assert 0.0001 <= reads.read(0.001, frames=100) <= 0.001


def test_the_first_messages_of_a_flood_are_read_as_they_come() -> None:
    reads = Reads()
    assert [reads.read(10e-6) for _ in range(15)] == [0.0] * 15


def test_messages_that_are_far_apart_are_read_as_they_come() -> None:
    reads = Reads()
    assert not any(reads.read(0.0005) for _ in range(200))


def test_there_is_no_pause_where_something_is_sent_in_between() -> None:
    reads = Reads()
    for _ in range(200):
        reads.sent += 1
        assert not reads.read(10e-6)


def test_what_is_sent_ends_the_pauses_and_a_flood_begins_them_anew() -> None:
    reads = Reads()
    reads.flood()
    reads.sent += 1
    assert not any(reads.read(10e-6) for _ in range(15))
    reads.flood()


def test_a_pause_that_brought_little_is_the_last_one() -> None:
    reads = Reads()
    reads.flood()
    assert not reads.read(0.001, frames=2)
    assert not reads.read(10e-6)


def test_a_pause_ends_before_the_pipe_is_full() -> None:
    reads = Reads()
    reads.flood()
    pause_s = reads.read(0.0001, frames=20, frame_bytes=1024)
    assert 0 < pause_s < 0.001
    assert pause_s / 0.000005 * 1024 < 128 * 1024  # at the rate of one frame in 5 µs


def test_large_messages_are_read_as_they_come() -> None:
    reads = Reads()
    assert not any(reads.read(20e-6, frame_bytes=4096) for _ in range(100))
    assert not any(reads.read(50e-6, frame_bytes=1024 * 1024) for _ in range(100))


def test_a_read_that_brought_no_whole_message_makes_no_pause() -> None:
    reads = Reads()
    reads.flood()
    assert not reads.read(0.0, frames=0)
