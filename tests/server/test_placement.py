"""Which process of an app gets a session, and when one more is started."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from hypothesis import assume, given
from hypothesis import strategies as st

from mpkernel.server.apps.placement import (
    Bounds,
    Decision,
    Facts,
    choose,
    choose_for_suspect,
    choose_to_rebuild,
)

Hosts: TypeAlias = list[tuple[int, Facts]]

SPREAD = Bounds(processes_max=4)


@st.composite
def processes(draw: st.DrawFn) -> Hosts:
    """Some processes, named by the order of their launch."""
    sessions = draw(st.lists(st.integers(0, 6), max_size=6))
    facts = [
        Facts(
            is_starting=draw(st.booleans()),
            refuses=draw(st.sampled_from([False, False, True])),
            is_outgoing=draw(st.sampled_from([False, False, True])),
            has_trial=draw(st.booleans()),
            is_rebuilding=draw(st.booleans()),
            is_unused=draw(st.booleans()),
            sessions=count,
            computing=draw(st.integers(0, count)),
            cpus=draw(st.floats(0.0, 8.0)),
        )
        for count in sessions
    ]
    return list(enumerate(facts))


@st.composite
def all_bounds(draw: st.DrawFn) -> Bounds:
    most = draw(st.none() | st.integers(1, 6))
    return Bounds(
        processes_max=most,
        processes_min=draw(st.integers(0, 3 if most is None else min(3, most))),
        sessions_per_process=draw(st.none() | st.integers(1, 6)),
        spread_at=draw(st.integers(1, 4)),
    )


def may_grow(hosts: Hosts, bounds: Bounds) -> bool:
    return len(hosts) < (math.inf if bounds.processes_max is None else bounds.processes_max)


def of(*facts: Facts) -> Sequence[tuple[int, Facts]]:
    return list(enumerate(facts))


@given(processes(), all_bounds(), st.booleans())
def test_whoever_has_room_goes_before_a_start_and_before_whoever_has_none(
    hosts: Hosts, bounds: Bounds, may_start: bool
) -> None:
    with_room = [place for place, facts in hosts if facts.has_room(bounds)]
    assume(with_room)
    assert choose(hosts, bounds, may_start=may_start) in with_room


@given(processes(), all_bounds(), st.booleans())
def test_no_session_waits_for_a_start_while_a_process_that_is_ready_has_room(
    hosts: Hosts, bounds: Bounds, may_start: bool
) -> None:
    ready = [p for p, facts in hosts if facts.has_room(bounds) and not facts.is_starting]
    assume(ready)
    assert choose(hosts, bounds, may_start=may_start) in ready


@given(processes(), all_bounds())
def test_one_more_is_started_only_where_nobody_has_room_and_never_beyond_the_most(
    hosts: Hosts, bounds: Bounds
) -> None:
    is_due = not any(facts.has_room(bounds) for _, facts in hosts) and may_grow(hosts, bounds)
    assert (choose(hosts, bounds, may_start=True) is Decision.START) is is_due


@given(processes(), all_bounds())
def test_without_a_start_every_session_is_placed_where_any_process_takes_sessions(
    hosts: Hosts, bounds: Bounds
) -> None:
    decision = choose(hosts, bounds, may_start=False)
    assert (decision is Decision.WAIT) is (not hosts)
    assert decision is not Decision.START


@given(processes(), all_bounds(), st.booleans())
def test_one_over_its_memory_and_one_to_be_replaced_come_last(
    hosts: Hosts, bounds: Bounds, may_start: bool
) -> None:
    decision = choose(hosts, bounds, may_start=may_start)
    if not isinstance(decision, int):
        return
    facts = dict(hosts)
    assert facts[decision].is_well or not any(one.is_well for _, one in hosts)
    assert not facts[decision].refuses or all(one.refuses for _, one in hosts)


@given(processes(), all_bounds(), st.booleans())
def test_the_least_busy_is_chosen(hosts: Hosts, bounds: Bounds, may_start: bool) -> None:
    decision = choose(hosts, bounds, may_start=may_start)
    if not isinstance(decision, int) or not dict(hosts)[decision].is_well:
        return
    chosen = dict(hosts)[decision]
    alike = [
        facts
        for _, facts in hosts
        if facts.is_well
        and facts.is_starting == chosen.is_starting
        and facts.has_room(bounds) == chosen.has_room(bounds)
    ]
    assert chosen.computing == min(facts.computing for facts in alike)


@given(processes(), st.booleans())
def test_an_app_with_one_process_never_has_a_second_beside_it(
    hosts: Hosts, may_start: bool
) -> None:
    assume(hosts)
    assert isinstance(choose(hosts, Bounds(), may_start=may_start), int)


@given(processes(), all_bounds(), st.booleans())
def test_there_is_one_trial_in_a_process(hosts: Hosts, bounds: Bounds, may_start: bool) -> None:
    decision = choose_for_suspect(hosts, bounds, may_start=may_start)
    if isinstance(decision, int):
        assert not dict(hosts)[decision].has_trial
    elif decision is Decision.WAIT:
        assert all(facts.has_trial for _, facts in hosts)


@given(processes(), all_bounds())
def test_a_suspect_is_put_with_others_only_where_there_is_no_other_way(
    hosts: Hosts, bounds: Bounds
) -> None:
    decision = choose_for_suspect(hosts, bounds, may_start=True)
    if isinstance(decision, int) and (others := dict(hosts)[decision].sessions):
        assert not may_grow(hosts, bounds)
        free = [facts for _, facts in hosts if facts.is_well and not facts.has_trial]
        assert all(facts.sessions >= others for facts in free)


def test_the_first_session_has_a_process_started() -> None:
    assert choose(of(), SPREAD, may_start=True) is Decision.START
    assert choose(of(), SPREAD, may_start=False) is Decision.WAIT


def test_a_process_that_computes_gets_no_more_as_long_as_another_may_be_started() -> None:
    busy = Facts(sessions=1, computing=1)
    assert choose(of(busy), SPREAD, may_start=True) is Decision.START
    assert choose(of(busy, busy, busy, busy), SPREAD, may_start=True) == 0


def test_sessions_that_are_idle_need_no_second_process() -> None:
    assert choose(of(Facts(sessions=300)), SPREAD, may_start=True) == 0


def test_of_processes_that_are_as_idle_the_one_with_fewer_sessions_is_chosen() -> None:
    assert choose(of(Facts(sessions=3), Facts(sessions=2)), SPREAD, may_start=True) == 1


def test_an_empty_process_is_left_to_retire() -> None:
    assert choose(of(Facts(sessions=3), Facts()), SPREAD, may_start=True) == 0
    assert choose(of(Facts(sessions=3, computing=1), Facts()), SPREAD, may_start=True) == 1


def test_an_empty_process_that_the_app_keeps_is_used() -> None:
    kept = SPREAD._replace(processes_min=2)
    assert choose(of(Facts(sessions=3), Facts()), kept, may_start=True) == 1


def test_a_process_for_each_session() -> None:
    alone = Bounds(processes_max=None, sessions_per_process=1)
    assert choose(of(Facts(sessions=1), Facts(sessions=1)), alone, may_start=True) is Decision.START


def test_what_computes_beside_the_sessions_counts_among_equals() -> None:
    assert choose(of(Facts(cpus=2.1), Facts(sessions=2)), SPREAD, may_start=True) == 1


def test_of_two_without_room_that_compute_alike_the_one_with_fewer_sessions_is_chosen() -> None:
    """Although it still starts: the session would be beside others that compute for longer than
    that start takes."""
    ready, starting = Facts(sessions=2, computing=1), Facts(True, sessions=1, computing=1)
    two = Bounds(processes_max=2)
    assert choose(of(ready, starting), two, may_start=True) == 1


@given(processes(), all_bounds(), st.booleans())
def test_a_process_that_is_used_rebuilds_one_session_at_a_time(
    hosts: Hosts, bounds: Bounds, may_start: bool
) -> None:
    decision = choose_to_rebuild(hosts, bounds, may_start=may_start)
    if isinstance(decision, int):
        facts = dict(hosts)[decision]
        assert facts.is_unused or not facts.is_rebuilding or not facts.is_well
    elif decision is Decision.WAIT:
        assert not hosts or any(one.is_rebuilding for _, one in hosts)


@given(processes(), all_bounds(), st.booleans())
def test_sessions_come_back_where_nobody_notices(
    hosts: Hosts, bounds: Bounds, may_start: bool
) -> None:
    free = [
        place
        for place, facts in hosts
        if facts.is_well and facts.is_unused and not facts.is_starting and facts.has_place(bounds)
    ]
    assert not free or choose_to_rebuild(hosts, bounds, may_start=may_start) in free


def test_a_session_comes_back_on_a_process_that_starts_only_where_no_other_is_free_soon() -> None:
    bounds = Bounds(processes_max=2, sessions_per_process=4)
    starting = Facts(is_starting=True, is_unused=True, sessions=1, computing=1)
    full, busy = Facts(sessions=4), Facts(sessions=2, computing=1, is_rebuilding=True)
    assert choose_to_rebuild(of(full, starting), bounds, may_start=True) == 1
    assert choose_to_rebuild(of(busy, starting), bounds, may_start=True) is Decision.WAIT
