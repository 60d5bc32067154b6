"""The table of a host's life, walked whole."""

from __future__ import annotations

import itertools

import pytest

from mpkernel.server.lifecycle import Event, Lifecycle, State

EXPECTED = {
    (State.STARTING, Event.READY): State.READY,
    (State.STARTING, Event.DRAIN): State.DRAINING,
    (State.STARTING, Event.DIED): State.FAILED,
    (State.READY, Event.DRAIN): State.DRAINING,
    (State.READY, Event.DIED): State.FAILED,
    (State.DRAINING, Event.READY): State.DRAINING,
    (State.DRAINING, Event.DRAIN): State.DRAINING,
    (State.DRAINING, Event.DIED): State.CLOSED,
    (State.FAILED, Event.DRAIN): State.FAILED,
    (State.CLOSED, Event.DRAIN): State.CLOSED,
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_event_in_every_state_is_a_known_step_or_an_error(state: State, event: Event) -> None:
    life = Lifecycle()
    life.state = state
    if (state, event) in EXPECTED:
        assert life.apply(event) is EXPECTED[state, event]
    else:
        with pytest.raises(ValueError, match=state.value):
            life.apply(event)
        assert life.state is state


def test_a_host_that_is_over_takes_no_sessions() -> None:
    life = Lifecycle()
    for state in State:
        life.state = state
        assert not (life.is_over and life.takes_sessions)


def test_a_host_that_drains_takes_no_sessions_and_is_not_over() -> None:
    life = Lifecycle()
    life.apply(Event.DRAIN)
    assert not life.takes_sessions
    assert not life.is_over
