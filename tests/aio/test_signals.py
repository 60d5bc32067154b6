"""A function is called before the signals that end a program take effect; their effect is the
same."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from mpkernel.aio.signals import before_ending

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restores the signal handlers after the test."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_it_is_called_before_what_the_signal_did() -> None:
    called: list[object] = []

    def handler(number: int, frame: FrameType | None) -> None:
        called.append(number)

    for number in NUMBERS:
        signal.signal(number, handler)
    before_ending(lambda: called.append("word"))
    for number in NUMBERS:
        signal.raise_signal(number)
    assert called == ["word", signal.SIGINT, "word", signal.SIGTERM]


def test_what_is_taken_back_is_not_called_and_leaves_what_was() -> None:
    called: list[str] = []

    def handler(number: int, frame: FrameType | None) -> None:
        called.append("handler")

    for number in NUMBERS:
        signal.signal(number, handler)
    first = before_ending(lambda: called.append("first"))
    second = before_ending(lambda: called.append("second"))
    first()  # the other one still calls its handler
    signal.raise_signal(signal.SIGTERM)
    assert called == ["second", "handler"]
    second()
    first()
    signal.raise_signal(signal.SIGTERM)
    assert called == ["second", "handler", "handler"]


@pytest.mark.parametrize(
    "disposition", [signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler]
)
def test_a_signal_that_asks_nobody_stays_as_it_is(disposition: signal.Handlers) -> None:
    for number in NUMBERS:
        signal.signal(number, disposition)
    before_ending(lambda: None)
    assert [signal.getsignal(number) for number in NUMBERS] == [disposition, disposition]


def test_another_thread_changes_nothing() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    thread = threading.Thread(target=before_ending, args=(lambda: None,))
    thread.start()
    thread.join()
    assert [signal.getsignal(number) for number in NUMBERS] == before
