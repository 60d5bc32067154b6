"""Placement: which process of an app gets a session, or whether one more is to be started. It only
decides, from the facts that it is given; `processes` carries it out.

    some process is well and has room ───────────────▶ the least busy of these
    none has, but one more process may be started ───▶ START
    none has, but some are well ─────────────────────▶ the least busy of these
    none is well ────────────────────────────────────▶ one that is about to be replaced, else one
                                                       that refuses sessions, else WAIT

A process has room while fewer than `Bounds.spread_at` of its sessions compute, and while it has
fewer sessions than `Bounds.sessions_per_process`. Of those with room, one that still starts comes
after all that are ready: no session waits for a start while another process can take it.

A session that has lost its process computes when it comes back. Whether those of other tabs notice
that counts for more there than how many compute:

    some process has room and nobody who would notice, and is ready ─▶ the one with the fewest
    some has room, and rebuilds none ────────────────────────────────▶ the least busy of these
    one more process may be started ─────────────────────────────────▶ START
    some has room once it has rebuilt the one that it is busy with ──▶ WAIT
    some are well, and rebuild none ─────────────────────────────────▶ the least busy of these
    all that are well rebuild one ───────────────────────────────────▶ WAIT
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import msgspec

__all__ = ["Bounds", "Decision", "Facts", "choose", "choose_for_suspect", "choose_to_rebuild"]

HostT = TypeVar("HostT")


class Decision(enum.Enum):
    """What is decided where no process is chosen."""

    START = "start"
    """One more process is to be started, for this session."""
    WAIT = "wait"
    """No process can take the session now, and none may be started."""


class Bounds(NamedTuple):
    """How an app is spread over processes: see the settings of the same names."""

    processes_max: int | None = 1
    processes_min: int = 0
    sessions_per_process: int | None = None
    spread_at: int = 1


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What is known of a process that takes sessions, as far as its life goes.

    Attributes:
        is_starting: whether it is not ready yet.
        refuses: whether it takes no new sessions although it lives: it uses too much memory.
        is_outgoing: whether it is about to be replaced: others are to be preferred.
        has_trial: whether a session on it is on trial, which may have ended its last process.
        is_rebuilding: whether it has just been given a session to rebuild, and has not done so yet.
        is_unused: whether nobody would notice that it rebuilds sessions: it is new, or has no
            others.
        sessions: how many are on it.
        computing: how many of these have been running a command for longer than a moment, or are
            about to run their first one.
        cpus: how many processors it used lately; 0.0 while nobody has looked.
    """

    is_starting: bool = False
    refuses: bool = False
    is_outgoing: bool = False
    has_trial: bool = False
    is_rebuilding: bool = False
    is_unused: bool = False
    sessions: int = 0
    computing: int = 0
    cpus: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether it may get sessions, however busy it is."""
        return not (self.refuses or self.is_outgoing)

    @property
    def may_rebuild(self) -> bool:
        """Whether it may get a session to rebuild, however busy it is."""
        return self.is_well and (self.is_unused or not self.is_rebuilding)

    def has_room(self, bounds: Bounds) -> bool:
        """Whether one more session on it is no reason to start another process."""
        has_place = self.has_place(bounds)
        return self.is_well and has_place and self.computing < bounds.spread_at

    def has_place(self, bounds: Bounds) -> bool:
        """Whether it has fewer sessions than it is to have."""
        most = bounds.sessions_per_process
        return most is None or self.sessions < most


_Ranked: TypeAlias = tuple[Facts, int, bool]
"""What is known of a process; how many of the app's processes are older; and whether it is spare:
empty, while the app has as many others as it is to keep. It is left to retire while others do as
well."""
_Order: TypeAlias = Callable[[_Ranked], tuple[float, ...]]


def choose(
    hosts: Sequence[tuple[HostT, Facts]], bounds: Bounds, *, may_start: bool
) -> HostT | Decision:
    """Which process gets the next session.

    Args:
        hosts: the app's processes that take sessions, in the order of their launch.
        bounds: how the app is spread.
        may_start: whether a process may be started now, as far as earlier deaths go.
    """
    ranked = _ranked(hosts, bounds)
    with_room = [one for one in ranked if one[0].has_room(bounds)]
    if with_room:
        return _first(hosts, with_room, _ready_then_idle)
    if may_start and _may_grow(hosts, bounds):
        return Decision.START
    well = [one for one in ranked if one[0].is_well]
    if well:
        return _first(hosts, well, _idle_then_ready)
    return _last_resort(hosts, ranked)


def choose_for_suspect(
    hosts: Sequence[tuple[HostT, Facts]], bounds: Bounds, *, may_start: bool
) -> HostT | Decision:
    """Where a session comes back that may end its process once more: on an empty process where
    there is one or one may be started, else on the one with the fewest sessions. There is at most
    one trial in a process, so that its next death says whose fault it was.

    Args:
        hosts, bounds, may_start: as `choose`.
    """
    ranked = [one for one in _ranked(hosts, bounds) if not one[0].has_trial]
    well = [one for one in ranked if one[0].is_well]
    empty = [one for one in well if not one[0].sessions]
    if empty:
        return _first(hosts, empty, _ready_then_idle)
    if may_start and _may_grow(hosts, bounds):
        return Decision.START
    if well:
        return _first(hosts, well, _fewest_sessions)
    return _last_resort(hosts, ranked)


def choose_to_rebuild(
    hosts: Sequence[tuple[HostT, Facts]], bounds: Bounds, *, may_start: bool
) -> HostT | Decision:
    """Where a session comes back that has lost its process.

    Args:
        hosts, bounds, may_start: as `choose`.
    """
    ranked = _ranked(hosts, bounds)
    free = [one for one in ranked if one[0].may_rebuild]
    with_place = [one for one in free if one[0].has_place(bounds)]
    unused = [one for one in with_place if one[0].is_unused and not one[0].is_starting]
    if unused:
        return _first(hosts, unused, _fewest_sessions)
    with_room = [one for one in free if one[0].has_room(bounds)]
    if with_room:
        return _first(hosts, with_room, _ready_then_idle)
    if may_start and _may_grow(hosts, bounds):
        return Decision.START
    busy = [one for one in ranked if one[0].is_well and not one[0].may_rebuild]
    if any(facts.has_place(bounds) for facts, _, _ in busy):
        return Decision.WAIT
    if with_place or free:
        return _first(hosts, with_place or free, _idle_then_ready)
    return Decision.WAIT if busy else _last_resort(hosts, ranked)


def _ranked(hosts: Sequence[tuple[HostT, Facts]], bounds: Bounds) -> list[_Ranked]:
    ranked = []
    well = 0
    for place, (_, facts) in enumerate(hosts):
        well += facts.is_well
        ranked.append((facts, place, not facts.sessions and well > bounds.processes_min))
    return ranked


def _may_grow(hosts: Sequence[object], bounds: Bounds) -> bool:
    return not hosts or bounds.processes_max is None or len(hosts) < bounds.processes_max


def _last_resort(
    hosts: Sequence[tuple[HostT, Facts]], ranked: Sequence[_Ranked]
) -> HostT | Decision:
    """Where no process is well. One that refuses is chosen last: its app is not to grow beyond the
    limit that the process has reached, so its refusal is the app's."""
    willing = [one for one in ranked if not one[0].refuses] or ranked
    return _first(hosts, willing, _idle_then_ready) if willing else Decision.WAIT


def _first(hosts: Sequence[tuple[HostT, Facts]], ranked: Sequence[_Ranked], order: _Order) -> HostT:
    _, place, _ = min(ranked, key=order)
    return hosts[place][0]


def _ready_then_idle(one: _Ranked) -> tuple[float, ...]:
    return one[0].is_starting, *_idle_then_ready(one)


def _idle_then_ready(one: _Ranked) -> tuple[float, ...]:
    facts, place, is_spare = one
    cpus = round(facts.cpus)  # rounded: small differences mean nothing
    return facts.computing, cpus, is_spare, facts.sessions, facts.is_starting, place


def _fewest_sessions(one: _Ranked) -> tuple[float, ...]:
    return one[0].sessions, *_ready_then_idle(one)
