"""A journal of a user's own, which keeps nothing for another server unless it says so."""

from __future__ import annotations

import pytest

from mpkernel import Journal, KernelSpec, Rebuilt
from mpkernel.errors import ProtocolError
from mpkernel.wire.frames import Channel


class Smallest(Journal):
    """A journal with only the methods that every journal must have."""

    def sent(self, channel: Channel, command: object) -> None:
        return

    def progressed(self, begun: int, done: int) -> None:
        return

    def rebuild(self, *, without_running: bool) -> Rebuilt:
        return Rebuilt(KernelSpec(entry="x:y"), [], 0)


def test_it_keeps_nothing_and_takes_nothing_over() -> None:
    assert Smallest().kept() is None
    with pytest.raises(ProtocolError, match="Smallest cannot take over"):
        Smallest().load(b"of another class")
