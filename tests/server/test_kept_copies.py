"""The copy of a session on the disk stays when the session ends, unless the session itself was the
cause, or has nothing to come back with."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from server.simulated import LAST_WORDS_S, SETTINGS, Client, SimulatedHost, World
from server.test_waiting_sessions import running

from mpkernel import Channel
from mpkernel.errors import HostStartError, MPKernelError, SandboxError, UnfitPython
from mpkernel.server.supervision.deaths import Reason


@dataclass
class Copy:
    """A copy of a session, which notes what becomes of it."""

    fate: list[str] = field(default_factory=list)

    def changed(self, *, by_client: bool) -> None:
        """Nothing is written: only the end counts."""

    def leave(self, content: bytes | None) -> None:
        self.fate.append("stays")

    def forget(self) -> None:
        self.fate.append("removed")


def copy_of(client: Client) -> Copy:
    copy = Copy()
    client.copies.keep(copy)
    return copy


def one_running() -> tuple[World, Client, SimulatedHost, Copy]:
    world, (client,) = running(1)
    return world, client, world.hosts[0], copy_of(client)


@pytest.mark.parametrize("end", ["close", "drain"])
def test_it_stays_if_the_process_dies_a_moment_before_its_server_ends(end: str) -> None:
    world, client, host, copy = one_running()
    host.die()
    world.clock.advance(LAST_WORDS_S / 2)  # its reason is not known yet
    getattr(world.app, end)()
    world.clock.advance(LAST_WORDS_S)
    assert client.over
    assert copy.fate == ["stays"]


def test_it_stays_if_the_kernel_got_no_thread_for_a_minute() -> None:
    world, client, host, copy = one_running()
    host.die()
    world.clock.advance(1.0)
    (host,) = world.hosts
    while not client.over:
        host.fail_start(client)
        world.clock.advance(1.1)
    assert copy.fate == ["stays"]


@pytest.mark.parametrize("error", [SandboxError("no such package"), UnfitPython("too old")])
def test_it_stays_if_the_app_cannot_run_any_more(error: MPKernelError) -> None:
    world, client, host, copy = one_running()
    host.leave_for(Reason.ENVIRONMENT, error)
    world.clock.advance(1.0)
    assert client.over
    assert copy.fate == ["stays"]


@pytest.mark.parametrize(("was_stored", "fate"), [(True, ["stays"]), (False, ["removed"])])
def test_that_of_a_session_that_never_ran_stays_if_it_was_stored(
    was_stored: bool, fate: list[str]
) -> None:
    world = World(SETTINGS)
    client = world.open(with_journal=True)
    assert client is not None
    client.record.was_stored = was_stored
    copy = copy_of(client)
    world.hosts[0].leave_for(Reason.ENVIRONMENT, SandboxError("no such package"))
    world.clock.advance(1.0)
    assert isinstance(client.error, HostStartError)
    assert copy.fate == fate


def test_it_is_removed_if_the_kernel_fails() -> None:
    _, client, host, copy = one_running()
    host.end_kernel(client, "ZeroDivisionError")
    assert client.over
    assert copy.fate == ["removed"]


def test_it_is_removed_if_the_session_ends_its_process_again_and_again() -> None:
    world, client, _, copy = one_running()
    while not client.over:
        (host,) = world.hosts
        host.is_ready()
        client.send(Channel.CONTROL, b"x")
        host.begin(client)
        host.die(Reason.CRASH, thread=client.thread)
        world.clock.advance(5.0)
    assert copy.fate == ["removed"]
