"""Nobody waits for ever: a state machine of all that can happen to an app and its sessions."""

from __future__ import annotations

import os

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from server.simulated import SETTINGS, Client, SimulatedHost, World

from mpkernel.server.supervision.deaths import Reason
from mpkernel.wire.frames import Channel

STEPS = int(os.environ.get("MPKERNEL_SIMULATED_STEPS", "2000"))
STEPS_IN_A_RUN = 50

LONG_S = 300.0
"""Longer than every back-off, cool-down and trial of a dozen suspects."""


class Waiting(RuleBasedStateMachine):
    """Every session is on a live process, over, or has a wake-up that is due."""

    settings = SETTINGS

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.settings)

    @initialize(clients=st.integers(1, 4))
    def clients_that_run_something(self, clients: int) -> None:
        for _ in range(clients):
            client = self.world.open(with_journal=True)
            client.send(Channel.CONTROL, b"x")
            client.host.is_ready()
            client.host.begin(client)

    @property
    def living(self) -> list[Client]:
        return [client for client in self.world.clients if not client.over]

    @property
    def placed(self) -> list[Client]:
        return [client for client in self.living if any(h.has(client) for h in self.world.hosts)]

    @rule(with_journal=st.sampled_from([True, True, True, False]))
    def a_client_comes(self, with_journal: bool) -> None:
        if len(self.living) < 8:
            self.world.open(with_journal=with_journal)

    @precondition(lambda self: self.living)
    @rule(data=st.data(), begins=st.booleans())
    def a_client_sends_a_command(self, data: st.DataObject, begins: bool) -> None:
        client = data.draw(st.sampled_from(self.living))
        client.send(Channel.CONTROL, b"x")
        if begins and client in self.placed:
            client.host.is_ready()
            client.host.begin(client)

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def a_client_leaves(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.living)).stop()

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def a_journal_breaks(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.living))
        if client.replay is not None:
            client.replay.is_broken = True

    @precondition(lambda self: self.world.hosts)
    @rule(data=st.data())
    def a_process_is_ready(self, data: st.DataObject) -> None:
        self._host(data).is_ready()

    @precondition(lambda self: self.placed)
    @rule(data=st.data(), step=st.sampled_from(["begin", "finish", "end_kernel", "fail_start"]))
    def a_kernel_goes_on(self, data: st.DataObject, step: str) -> None:
        client = data.draw(st.sampled_from(self.placed))
        if client.host.state.value in ("ready", "draining"):
            getattr(client.host, step)(client)

    @precondition(lambda self: self.world.hosts)
    @rule(
        data=st.data(),
        reason=st.sampled_from([Reason.KILLED, Reason.EXIT, Reason.CRASH, Reason.OUT_OF_MEMORY]),
    )
    def a_process_dies(self, data: st.DataObject, reason: Reason) -> None:
        host = self._host(data)
        threads = [None, *(s.thread for s in host.sessions if s.thread is not None)]
        others = [(one, one.host) for one in self.placed if one.host is not host]
        host.die(reason, data.draw(st.sampled_from(threads)) if reason is Reason.CRASH else None)
        assert [(one, one.host) for one, _ in others] == others

    @precondition(lambda self: self.world.hosts)
    @rule(data=st.data())
    def a_process_drains(self, data: st.DataObject) -> None:
        self._host(data).drain()

    @precondition(lambda self: self.world.hosts)
    @rule(data=st.data())
    def an_idle_process_retires(self, data: st.DataObject) -> None:
        self._host(data).retire()

    @rule(what=st.sampled_from(["restarts", "rolls", "replaces", "has no processes"]))
    def the_operator(self, what: str) -> None:
        match what:
            case "restarts":
                self.world.app.restart()
            case "rolls":
                self.world.app.restart_rolling()
            case "replaces":
                self.world.app.replace()
            case _:
                self.world.refusals = 2

    @rule(seconds=st.sampled_from([0.0, 0.0, 0.1, 0.3, 1.0, 5.0, 11.0, 30.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule()
    def a_quiet_time_brings_everybody_back(self) -> None:
        self.world.refusals = 0
        self.world.go_on(LONG_S)
        assert self.world.app.waiting_count == 0
        assert self.placed == self.living
        assert len(self.world.app._processes.taking) >= self.settings.processes_min

    @invariant()
    def everybody_is_placed_or_over_or_is_woken(self) -> None:
        app = self.world.app
        for client in self.living:
            if client in self.placed:
                continue
            if client in app._waiting.sessions:
                next_look = app._upkeep._next_look
                look = next_look is not None and not next_look.cancelled()
                due = any(not trial.cancelled() for trial in app._waiting._trials.values())
                assert look or due or app._processes.is_death_untold, f"{client} waits for nothing"
            else:
                assert any(client in host.sessions for host in app.hosts), f"{client} is lost"
                assert app._processes.is_death_untold, (
                    f"{client} waits for a reason that nobody tells"
                )

    @invariant()
    def nobody_is_told_twice_that_it_is_over(self) -> None:
        assert all(client.times_over == client.over for client in self.world.clients)

    @invariant()
    def there_are_no_more_processes_than_there_may_be(self) -> None:
        app = self.world.app
        one_more = app._upkeep.rolling_restart.is_under_way
        assert len(app._processes.taking) <= self.settings.processes_max + one_more

    def teardown(self) -> None:
        self.world.app.close()
        self.world.clock.advance(LONG_S)
        assert self.living == []
        assert self.world.app.hosts == []

    def _host(self, data: st.DataObject) -> SimulatedHost:
        return data.draw(st.sampled_from(self.world.hosts))


class WaitingForSeveral(Waiting):
    """The same where the app is spread over several processes."""

    settings = msgspec.structs.replace(
        SETTINGS, processes_max=3, processes_min=1, sessions_per_process=2
    )


LONG_RUNS = settings(
    max_examples=max(1, STEPS // STEPS_IN_A_RUN),
    stateful_step_count=STEPS_IN_A_RUN,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWaiting = Waiting.TestCase
TestWaiting.settings = LONG_RUNS
TestWaitingForSeveral = WaitingForSeveral.TestCase
TestWaitingForSeveral.settings = LONG_RUNS
