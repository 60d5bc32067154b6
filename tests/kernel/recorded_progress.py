"""A place that keeps the messages of progress that are sent from it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from waiting import PATIENCE_S

from mpkernel.kernel.messages import Message, Progress
from mpkernel.kernel.shown.output_list import CellOutputList

__all__ = ["ProgressPlace", "assert_done_once_and_last", "of"]


class ProgressPlace:
    """A cell of the test's own, which keeps what is sent."""

    cell = "cell"
    outputs: CellOutputList

    def __init__(self) -> None:
        self.over = threading.Event()
        self.sent: list[Progress] = []
        self.on_send: Callable[[Progress], None] = lambda _: None
        self._changed = threading.Condition()

    def send(self, message: Message) -> None:
        assert isinstance(message, Progress)
        self.on_send(message)
        with self._changed:
            self.sent.append(message)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[Progress], bool]) -> Progress:
        """The last message, once it is one of these."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: self.sent and condition(self.sent[-1]), PATIENCE_S
            )
            return self.sent[-1]


def of(place: ProgressPlace, field: str) -> list[Any]:
    """One field of each message."""
    return [getattr(message, field) for message in place.sent]


def assert_done_once_and_last(place: ProgressPlace) -> None:
    """Only the last message says that it is done."""
    assert of(place, "done") == [False] * (len(place.sent) - 1) + [True]
