"""A kernel for which no thread is left when its session comes back is started again."""

from __future__ import annotations

from server.simulated import SETTINGS, Client, SimulatedHost, World
from server.test_waiting_sessions import running


def back_on_a_process() -> tuple[World, Client, SimulatedHost]:
    """A session whose process has died, and the process on which its kernel is to start."""
    world, (client,) = running(1)
    world.hosts[0].die()
    world.clock.advance(1.0)
    (host,) = world.hosts
    return world, client, host


def test_a_kernel_that_no_thread_is_left_for_is_started_again_a_second_later() -> None:
    world, client, host = back_on_a_process()
    for _ in range(3):
        host.fail_start(client)
        world.clock.advance(0.9)
        assert client.host is None
        assert world.app.waiting_count == 1
        world.clock.advance(0.2)
        assert client.host is host
    host.is_ready()
    assert not client.over


def test_a_kernel_that_no_thread_is_left_for_is_given_up_after_a_minute() -> None:
    world, client, host = back_on_a_process()
    for _ in range(60):
        host.fail_start(client)
        world.clock.advance(1.1)
    host.fail_start(client)
    assert client.over
    assert "no thread could be started" in str(client.error)


def test_a_new_kernel_that_no_thread_is_left_for_is_not_started_again() -> None:
    world = World(SETTINGS)
    client = world.open(with_journal=True)
    client.host.fail_start(client)
    assert client.over


def test_a_session_that_waits_for_a_thread_can_be_closed() -> None:
    world, client, host = back_on_a_process()
    host.fail_start(client)
    client.stop()
    world.clock.advance(0.0)
    assert client.over
    assert world.app.waiting_count == 0


def test_a_stored_session_that_no_thread_is_left_for_is_started_again_in_the_next_server() -> None:
    world = World(SETTINGS)
    client = world.open(with_journal=True)
    host = client.host
    client.record.was_stored = True
    host.fail_start(client)
    assert not client.over
    world.clock.advance(1.1)
    host.is_ready()
    assert client.record.has_run
