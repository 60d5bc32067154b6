"""The processes of an app: their numbers, and how much work it is to choose one for a session."""

from __future__ import annotations

import gc
import sys
from types import FrameType
from typing import Any

import msgspec
import pytest
from server.simulated import KERNEL, LAST_WORDS_S, SETTINGS, Client, Replay, World

from mpkernel import Settings
from mpkernel.errors import AppUnavailable


def test_a_process_has_the_number_of_one_that_has_ended() -> None:
    world = World(msgspec.structs.replace(SETTINGS, processes_max=None, sessions_per_process=1))
    for _ in range(3):
        world.open(with_journal=False)
    first, second, third = world.hosts
    second.die()
    world.clock.advance(LAST_WORDS_S)
    fourth = world.open(with_journal=False)
    assert fourth is not None
    numbers = [world.app.number_of(host) for host in (first, third, fourth.host)]
    assert numbers == [1, 3, 2]


class Work:
    """Counts the bytecodes that run in a `with` block, and in what it calls. No garbage is
    collected meanwhile: that would run code of other tests.

    Attributes:
        count: how many.
    """

    def __enter__(self) -> Work:
        self.count = 0
        gc.disable()
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)
        gc.enable()

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        frame.f_trace_opcodes = True
        self.count += event == "opcode"
        return self._trace


def idle(processes: int, sessions: int, **changes: int) -> World:
    """An app with so many processes, and so many sessions that are not doing anything."""
    settings = msgspec.structs.replace(
        SETTINGS, processes_max=processes, processes_min=processes, **changes
    )
    world = World(settings)
    world.open(with_journal=True)
    world.go_on(1.0)
    while len(world.clients) < sessions:
        world.open(with_journal=True)
    world.go_on(5.0)
    assert len(world.hosts) == processes
    assert [host.computing_count for host in world.hosts] == [0] * processes
    return world


def to_open(world: World) -> int:
    """How much work one more session is."""
    newcomer = Client(world.app, "newcomer", Replay())
    with Work() as work:
        world.app.open(newcomer, KERNEL)
    return work.count


def test_a_session_costs_no_more_where_there_are_many() -> None:
    assert to_open(idle(8, 400)) == to_open(idle(8, 40))


def test_a_further_process_adds_little_to_what_a_session_costs() -> None:
    one, eight = to_open(idle(1, 400)), to_open(idle(8, 400))
    assert (eight - one) / 7 < one / 3


def test_a_session_that_is_one_too_many_is_refused_without_a_look_at_the_others() -> None:
    def to_refuse(sessions: int) -> int:
        world = idle(2, sessions, sessions_max=sessions)
        newcomer = Client(world.app, "newcomer", Replay())
        with Work() as work, pytest.raises(AppUnavailable):
            world.app.open(newcomer, KERNEL)
        return work.count

    assert to_refuse(400) == to_refuse(40)


def test_who_was_closed_a_moment_ago_makes_room() -> None:
    world = idle(2, 3, sessions_max=3)
    assert world.open(with_journal=True) is None
    world.clients[0].stop()
    world.clients[0].stop()
    assert world.open(with_journal=True) is not None
    assert world.open(with_journal=True) is None


def test_who_could_not_be_opened_takes_no_room() -> None:
    world = World(Settings(sessions_max=1))
    world.refusals = 1
    assert world.open(with_journal=False) is None
    assert world.open(with_journal=False) is not None
