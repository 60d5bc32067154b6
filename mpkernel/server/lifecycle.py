"""The life of an app host, as one table. No I/O, no clock: all other code asks it.

                 ready              drain               died
    STARTING ───────────▶ READY ───────────▶ DRAINING ───────▶ CLOSED
        │                   │                                    ▲
        ├── died ─▶ FAILED  ├── died ─▶ FAILED                   │
        └───────── drain ───┴────────────────────────────────────┘ (through DRAINING)

What happens in a state is `host.py`'s; that a thing may happen is said here.
"""

from __future__ import annotations

import enum

__all__ = ["Event", "Lifecycle", "State"]


class State(enum.Enum):
    """Where a host stands in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    CLOSED = "closed"


class Event(enum.Enum):
    """What can befall a host."""

    READY = "ready"
    """It said that it takes kernels."""
    DRAIN = "drain"
    """It shall take no more sessions and leave."""
    DIED = "died"
    """Its process ended."""


_TRANSITIONS: dict[tuple[State, Event], State] = {
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


class Lifecycle:
    """A host's present state. Changed on the loop's thread; may be read from any."""

    def __init__(self) -> None:
        self.state = State.STARTING

    def apply(self, event: Event) -> State:
        """Take the transition for `event`; give the new state.

        Raises:
            ValueError: there is none. Somebody's picture of the host is wrong.
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
        """Whether the host's process is gone."""
        return self.state in (State.FAILED, State.CLOSED)
