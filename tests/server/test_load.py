"""How many sessions of a process compute."""

from __future__ import annotations

from clocks import Clock

from mpkernel.server.hosts.load import Load


def used(load: Load, number: int) -> None:
    """A session that has done its first command."""
    load.opened(number)
    load.created(number)
    load.progressed(number, 1, 0)
    load.progressed(number, 1, 1)


def test_a_new_session_computes_until_its_first_command_is_done() -> None:
    clock = Clock()
    load = Load(clock)
    load.opened(1)
    clock.now_s += 60.0  # its process takes so long to start
    assert load.computing_count == 1
    load.created(1)
    load.progressed(1, 1, 0)
    clock.now_s += 60.0
    assert load.computing_count == 1
    load.progressed(1, 1, 1)
    assert load.computing_count == 0


def test_a_new_session_that_is_sent_nothing_computes_no_more_after_a_second() -> None:
    clock = Clock()
    load = Load(clock)
    for number in (1, 2):
        load.opened(number)
        load.created(number)
        clock.now_s += 0.5
    assert load.computing_count == 1
    clock.now_s += 0.5
    assert load.computing_count == 0


def test_a_later_command_counts_when_it_takes_longer_than_a_moment() -> None:
    clock = Clock()
    load = Load(clock)
    used(load, 1)
    used(load, 2)
    load.progressed(1, 2, 1)
    clock.now_s += 0.2
    load.progressed(2, 2, 1)
    assert load.computing_count == 1
    load.progressed(1, 3, 2)  # the next one begins
    assert load.computing_count == 0
    clock.now_s += 0.2
    assert load.computing_count == 2
    load.progressed(1, 3, 3)
    assert load.computing_count == 1


def test_a_session_that_ended_computes_nothing() -> None:
    clock = Clock()
    load = Load(clock)
    used(load, 1)
    load.progressed(1, 2, 1)
    load.opened(2)
    load.created(2)
    for number in (1, 2):
        load.ended(number)
        load.ended(number)
    clock.now_s += 5.0
    assert load.computing_count == 0
