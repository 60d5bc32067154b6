"""A session that ends its process each time it runs is found, and no other one is taken for it,
whenever workers are lost, or operators restart processes, meanwhile."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from server.simulated import LAST_WORDS_S, Client, World

from mpkernel import Channel, Settings
from mpkernel.server.supervision.deaths import Reason

SETTINGS = Settings(restart_limit=1000, restart_backoff_s=0.1, restart_backoff_max_s=0.1)
NORMAL, ENDLESS = 2, 2
MOST_DEATHS = 5


class Site:
    """An app with some sessions that finish what they run, some that never do, and a culprit."""

    def __init__(self, culprit: int, order: list[int]) -> None:
        self.world = World(SETTINGS)
        self.clients = [self.world.open(with_journal=True) for _ in range(NORMAL + ENDLESS + 1)]
        self.culprit: Client = self.clients[culprit]
        others = [client for client in self.clients if client is not self.culprit]
        self.endless = others[:ENDLESS]
        self.deaths = 0
        for index in order:
            self.world.clock.advance(0.01)
            self.clients[index].send(Channel.CONTROL, b"x")

    def step(self, *, only_culprit: bool = False) -> None:
        """Each kernel goes on by one command, and the culprit's ends its process."""
        for host in list(self.world.hosts):
            host.is_ready()
            for client in [self.culprit] if only_culprit else self.clients:
                if client.host is host:
                    host.begin(client)
                    if client is not self.culprit and client not in self.endless:
                        host.finish(client)
            if self.culprit.host is host and not self.culprit.record.strikes:
                host.die(Reason.EXIT)
                self.deaths += 1
                self.world.clock.advance(LAST_WORDS_S)

    def lose(self, reason: Reason, *, had_begun: bool = True) -> None:
        """The processes end, and it is no session's fault. Their kernels had begun what they had to
        run, or had not."""
        for host in list(self.world.hosts):
            host.is_ready()
            for client in self.clients if had_begun else []:
                if client.host is host:
                    host.begin(client)
            host.die(reason)
            self.world.clock.advance(LAST_WORDS_S)


@settings(deadline=None, max_examples=100)
@given(
    culprit=st.integers(0, NORMAL + ENDLESS),
    order=st.permutations(range(NORMAL + ENDLESS + 1)),
    events=st.lists(
        st.sampled_from(["step", "culprit", "wait", "lost", "lost early", "restarted"]),
        min_size=1,
        max_size=25,
    ),
)
def test_the_culprit_is_found_and_nobody_else_is_taken_for_it(
    culprit: int, order: list[int], events: list[str]
) -> None:
    site = Site(culprit, order)
    for event in [*events, *["step", "wait"] * 60]:
        match event:
            case "step":
                site.step()
            case "culprit":
                site.step(only_culprit=True)
            case "wait":
                site.world.clock.advance(3.0)
            case "lost":
                site.lose(Reason.LOST)
            case "lost early":
                site.lose(Reason.LOST, had_begun=False)
            case "restarted":
                site.lose(Reason.OPERATOR)
    assert site.culprit.record.strikes == 1
    assert [one.record.strikes for one in site.clients if one is not site.culprit] == [0] * (
        NORMAL + ENDLESS
    )
    assert site.deaths <= MOST_DEATHS, site.deaths
    assert not any(client.over for client in site.clients)
