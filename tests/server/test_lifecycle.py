"""The whole table of a host's life."""

from __future__ import annotations

import itertools

import pytest

from mpkernel.server.hosts.lifecycle import Event, Lifecycle, State

EXPECTED = {
    (State.STARTING, Event.READY): State.READY,
    (State.STARTING, Event.DRAIN): State.DRAINING,
    (State.STARTING, Event.LEAVE): State.LEAVING,
    (State.STARTING, Event.DIED): State.DIED,
    (State.READY, Event.DRAIN): State.DRAINING,
    (State.READY, Event.LEAVE): State.LEAVING,
    (State.READY, Event.DIED): State.DIED,
    (State.DRAINING, Event.READY): State.DRAINING,
    (State.DRAINING, Event.DRAIN): State.DRAINING,
    (State.DRAINING, Event.LEAVE): State.LEAVING,
    (State.DRAINING, Event.DIED): State.DIED,
    (State.LEAVING, Event.READY): State.LEAVING,
    (State.LEAVING, Event.DRAIN): State.LEAVING,
    (State.LEAVING, Event.LEAVE): State.LEAVING,
    (State.LEAVING, Event.DIED): State.CLOSED,
    (State.CLOSED, Event.DRAIN): State.CLOSED,
    (State.CLOSED, Event.LEAVE): State.CLOSED,
    (State.DIED, Event.DRAIN): State.DIED,
    (State.DIED, Event.LEAVE): State.DIED,
    (State.STARTING, Event.GIVE_UP): State.LOST,
    (State.READY, Event.GIVE_UP): State.LOST,
    (State.DRAINING, Event.GIVE_UP): State.LOST,
    (State.LEAVING, Event.GIVE_UP): State.LOST,
    (State.LOST, Event.DRAIN): State.LOST,
    (State.LOST, Event.LEAVE): State.LOST,
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
