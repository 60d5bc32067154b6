"""To which app a process belongs, while processes start, end, and get the numbers of others."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from mpkernel.server.supervision.descendants import Descendants

SERVER = 1


class Running(NamedTuple):
    parent: int
    session: int
    host: object  # whose it is by birth


class Machine:
    """What runs, whose it is, and the numbers that the system would give."""

    def __init__(self) -> None:
        self.running = {SERVER: Running(parent=0, session=SERVER, host=None)}
        self.hosts: dict[int, object] = {}
        self.looks = 0

    def parent_of(self, pid: int) -> int:
        self.looks += 1
        return self.running[pid].parent

    def sessions(self) -> dict[int, int]:
        return {pid: one.session for pid, one in self.running.items()}

    def start_host(self) -> int:
        pid = self._free_pid()
        self.hosts[pid] = object()
        self.running[pid] = Running(SERVER, pid, self.hosts[pid])
        return pid

    def start(self, parent: int, *, own_session: bool = False) -> int:
        pid, of = self._free_pid(), self.running[parent]
        self.running[pid] = Running(parent, pid if own_session else of.session, of.host)
        return pid

    def leave_session(self, pid: int) -> None:
        self.running[pid] = self.running[pid]._replace(session=pid)

    def end(self, ended: int) -> None:
        del self.running[ended]
        self.hosts.pop(ended, None)
        for pid, one in self.running.items():
            if one.parent == ended:
                self.running[pid] = one._replace(parent=SERVER)

    def groups(self) -> dict[int, set[int]]:
        return {
            host: {pid for pid, one in self.running.items() if one.host is identity}
            for host, identity in self.hosts.items()
        }

    def _free_pid(self) -> int:
        """The lowest number that no process and no process session has."""
        taken = {number for pid, one in self.running.items() for number in (pid, one.session)}
        return next(pid for pid in range(2, 1000) if pid not in taken)


def look(machine: Machine, descendants: Descendants) -> dict[int, set[int]]:
    descendants.update(machine.sessions())
    return {host: set(group) for host, group in descendants.groups(machine.hosts).items()}


STEPS = ("host", "child", "child in a session of its own", "leaves its session", "ends", "ends")


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1000)), max_size=60))
def test_every_process_is_its_hosts_from_birth_to_end(steps: list[tuple[str, int]]) -> None:
    machine = Machine()
    descendants = Descendants(machine.parent_of)
    for step, choice in steps:
        chosen = sorted(machine.running)[choice % len(machine.running)]
        match step:
            case "host":
                machine.start_host()
            case "child":
                machine.start(chosen)
            case "child in a session of its own":
                machine.start(chosen, own_session=True)
            case "leaves its session" if chosen not in machine.hosts:
                machine.leave_session(chosen)
            case "ends" if chosen != SERVER:
                machine.end(chosen)
        assert look(machine, descendants) == machine.groups()


def test_a_parent_is_asked_for_once() -> None:
    machine = Machine()
    descendants = Descendants(machine.parent_of)
    host = machine.start_host()
    machine.start(machine.start(host))
    for _ in range(10):
        look(machine, descendants)
    assert machine.looks == len(machine.running)


def test_a_number_that_became_anothers_is_looked_at_again() -> None:
    machine = Machine()
    descendants = Descendants(machine.parent_of)
    host = machine.start_host()
    child = machine.start(host, own_session=True)
    assert look(machine, descendants) == {host: {host, child}}
    machine.end(child)
    assert machine.start(SERVER, own_session=True) == child
    descendants.forget(child)
    assert look(machine, descendants) == {host: {host}}


def test_a_number_that_became_a_hosts_between_two_looks_is_looked_at_again() -> None:
    machine = Machine()
    descendants = Descendants(machine.parent_of)
    host = machine.start_host()
    stranger = machine.start(SERVER)
    assert look(machine, descendants) == {host: {host}}
    machine.end(stranger)
    assert machine.start(host) == stranger
    assert look(machine, descendants) == {host: {host, stranger}}


def test_one_that_leaves_its_session_and_loses_its_parent_at_once_stays_its_hosts() -> None:
    machine = Machine()
    descendants = Descendants(machine.parent_of)
    host = machine.start_host()
    parent = machine.start(host)
    child = machine.start(parent)
    look(machine, descendants)
    machine.leave_session(child)
    machine.end(parent)
    assert look(machine, descendants) == {host: {host, child}}
