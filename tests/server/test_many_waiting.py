"""Many sessions that wait for a process: what happens to one costs no look at the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from server.simulated import LAST_WORDS_S
from server.test_waiting_sessions import running


def test_a_session_that_is_closed_while_it_waits_costs_no_look_at_the_others() -> None:
    world, _ = running(5)
    waiting = world.app._waiting
    world.hosts[0].die()
    world.clock.advance(LAST_WORDS_S)
    for name in ("_together", "_suspects", "_later"):
        setattr(waiting, name, NotSearched(getattr(waiting, name)))
    before = waiting.sessions
    assert len(before) > 2
    for lookup in (waiting._together, waiting._suspects, waiting._later):
        lookup.is_left_alone = True
    waiting.forget(before[1])
    for lookup in (waiting._together, waiting._suspects, waiting._later):
        lookup.is_left_alone = False
    assert waiting.sessions == [before[0], *before[2:]]
    assert before[1].over


class NotSearched(OrderedDict):
    """Fails the test when somebody goes through all of it."""

    is_left_alone = False

    def __iter__(self) -> Iterator[object]:
        assert not self.is_left_alone
        return super().__iter__()
