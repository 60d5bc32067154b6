"""Which session wrote the text that was written to descriptor 1 or 2."""

from __future__ import annotations

import contextlib

import pytest
from clocks import Clock

from mpkernel.host import descriptors
from mpkernel.host.descriptors import Ran, Runs
from mpkernel.wire.messages import ConsoleText


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waits() -> list[str]:
    """A list with a note for each time that the end of a run waited."""
    return []


@pytest.fixture
def runs(clock: Clock, waits: list[str]) -> Runs:
    def wait(within_s: float) -> bool:
        if within_s:
            waits.append("waited")
        return True

    return Runs(clock, wait)


def test_it_is_nobodys_where_nobody_ran(runs: Runs, clock: Clock) -> None:
    assert runs.alone_at(clock.now_s) is None


def test_it_is_the_running_sessions(runs: Runs, clock: Clock) -> None:
    with runs.running(1, "cell"):
        clock.now_s += 1000
        assert runs.alone_at(clock.now_s) == Ran(1, "cell")


def test_it_is_the_sessions_that_has_just_ended(runs: Runs, clock: Clock) -> None:
    with runs.running(1, "cell"):
        pass
    assert runs.alone_at(clock.now_s + 0.09) == Ran(1, "cell")
    assert runs.alone_at(clock.now_s + 0.11) is None


def test_it_is_nobodys_where_two_run_or_have_just_run(clock: Clock) -> None:
    runs = Runs(clock, lambda _: False)
    with runs.running(1, "one"), runs.running(2, "two"):
        assert runs.alone_at(clock.now_s) is None
    with runs.running(1, "one"):
        assert runs.alone_at(clock.now_s + 0.09) is None
        assert runs.alone_at(clock.now_s + 0.11) == Ran(1, "one")


def test_it_is_not_of_a_run_that_began_after_it_was_read(runs: Runs, clock: Clock) -> None:
    read_at_s = clock.now_s
    clock.now_s += 0.01
    with runs.running(2, "later"):
        assert runs.alone_at(read_at_s) is None
        assert runs.alone_at(clock.now_s) == Ran(2, "later")


def test_it_is_of_the_latest_cell_that_ran_when_it_was_read(runs: Runs, clock: Clock) -> None:
    began = {}
    for cell in ("first", "second", "third"):
        clock.now_s += 0.01
        began[cell] = clock.now_s
        with runs.running(1, cell):
            clock.now_s += 0.005
    for cell, began_s in began.items():
        assert runs.alone_at(began_s + 0.007) == Ran(1, cell)


def test_news_of_the_text_may_come_seconds_after_it_was_read(runs: Runs, clock: Clock) -> None:
    with runs.running(1, "cell"):
        read_at_s = clock.now_s
    for number in range(1000):
        clock.now_s += 0.004
        with runs.running(2, str(number)):
            clock.now_s += 0.0001
    assert runs.alone_at(read_at_s) == Ran(1, "cell")


def test_an_end_waits_for_the_text_only_where_it_is_known_whose_it_is(
    runs: Runs, clock: Clock, waits: list[str]
) -> None:
    with runs.running(1, "alone"):
        pass
    assert waits == ["waited"]
    with runs.running(2, "beside the first"):
        pass
    assert waits == ["waited"]


def test_a_run_whose_text_was_read_is_not_taken_for_the_next(runs: Runs, clock: Clock) -> None:
    with runs.running(1, "first"):
        clock.now_s += 0.01
    clock.now_s += 0.01
    assert runs.alone_at(clock.now_s) == Ran(1, "first"), "a process that it left behind"
    with runs.running(2, "second"):
        assert runs.alone_at(clock.now_s) == Ran(2, "second")
        assert runs.alone_at(clock.now_s - 0.015) == Ran(1, "first")


def test_a_run_whose_text_was_not_read_may_be_taken_for_the_next(clock: Clock) -> None:
    runs = Runs(clock, lambda _: False)
    with runs.running(1, "first"):
        clock.now_s += 0.01
    clock.now_s += 0.01
    with runs.running(2, "second"):
        assert runs.alone_at(clock.now_s) is None


def test_a_run_that_fails_has_ended(runs: Runs, clock: Clock) -> None:
    with contextlib.suppress(KeyboardInterrupt), runs.running(1, "cell"):
        raise KeyboardInterrupt
    assert runs.alone_at(clock.now_s + 1) is None


def test_a_hook_that_fails_is_called_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: ConsoleText) -> None:
        raise LookupError("on purpose")

    monkeypatch.setattr(descriptors, "_hook", fail)
    for _ in range(2):  # what it logs comes back as text
        descriptors.deliver(ConsoleText("stderr", "text", 0.0))
    assert len(caplog.records) == 1
