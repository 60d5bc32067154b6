"""The life of an app host's process, as one table of states. It does no I/O and has no clock.

                 ready              drain                 leave                died
    STARTING ───────────▶ READY ───────────▶ DRAINING ───────────▶ LEAVING ───────────▶ CLOSED
        │                   │                    │
        └────── died ───────┴─────── died ───────┴──▶ DIED

    drain: from STARTING too; leave: from STARTING and READY too
    give up: from every state that is not over, to LOST: its process outlives SIGKILL

A host that drains takes no more sessions, and leaves when its last session has ended. A host that
leaves was asked to end in order. `host` does what is to be done in each state; `restart_policy`
says when a new process is started after one that died.
"""

from __future__ import annotations

import enum

__all__ = ["Event", "Lifecycle", "State"]


class State(enum.Enum):
    """The state of a host."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    LEAVING = "leaving"
    CLOSED = "closed"
    DIED = "died"
    LOST = "lost"


class Event(enum.Enum):
    """What can happen to a host."""

    READY = "ready"
    """It has said that it is ready for kernels."""
    DRAIN = "drain"
    """It is to take no more sessions, and to leave when its last one has ended."""
    LEAVE = "leave"
    """It was asked to end in order."""
    DIED = "died"
    """Its process ended."""
    GIVE_UP = "given up"
    """Its process was killed, and does not end for now."""


_TRANSITIONS: dict[tuple[State, Event], State] = {
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


class Lifecycle:
    """A host's present state. Changed on the loop's thread; may be read from any."""

    def __init__(self) -> None:
        self.state = State.STARTING

    def apply(self, event: Event) -> State:
        """Take the transition for `event`. Returns the new state.

        Raises:
            ValueError: there is no such transition from the present state, which is a mistake of
                the caller.
        """
        try:
            self.state = _TRANSITIONS[self.state, event]
        except KeyError:
            raise ValueError(f"a host that is {self.state.value} cannot be {event.value}") from None
        return self.state

    @property
    def takes_sessions(self) -> bool:
        """Whether a new session may be opened on the host."""
        return self.state in (State.STARTING, State.READY)

    @property
    def is_over(self) -> bool:
        """Whether the host's process has ended, or was given up."""
        return self.state in (State.DIED, State.CLOSED, State.LOST)
