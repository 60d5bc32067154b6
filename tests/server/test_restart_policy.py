"""When a process is started again after it has died."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpkernel.server.launching.restart_policy import RestartPolicy
from mpkernel.settings import Settings


class TestRestarts:
    def test_the_first_death_is_followed_at_once(self) -> None:
        policy = RestartPolicy(Settings())
        policy.died(100.0)
        assert policy.wait_s(100.0) == 0.0

    def test_each_further_one_waits_twice_as_long(self) -> None:
        policy = RestartPolicy(Settings(restart_backoff_s=0.5), jitter=lambda: 1.0)
        waits = []
        for now in (100.0, 101.0, 102.0, 103.0, 104.0):
            policy.died(now)
            waits.append(policy.wait_s(now))
        assert waits == [0.0, 0.5, 1.0, 2.0, 4.0]

    def test_the_random_part_shortens_a_wait_by_up_to_a_half(self) -> None:
        policy = RestartPolicy(Settings(restart_backoff_s=0.5), jitter=lambda: 0.0)
        policy.died(0.0)
        policy.died(1.0)
        assert policy.wait_s(1.0) == 0.25

    def test_no_wait_is_longer_than_the_longest(self) -> None:
        settings = Settings(restart_limit=50, restart_backoff_s=0.5, restart_backoff_max_s=8)
        policy = RestartPolicy(settings, jitter=lambda: 1.0)
        for _ in range(40):
            policy.died(0.0)
        assert policy.wait_s(0.0) == 8.0

    def test_without_a_window_no_earlier_death_counts(self) -> None:
        policy = RestartPolicy(Settings(restart_window_s=0, restart_limit=1))
        for now in range(10):
            policy.died(float(now))
            assert policy.wait_s(now) == 0.0
        assert not policy.failed
        assert policy.is_calm(10.0)

    def test_one_death_too_many_is_a_failure_until_it_has_cooled_down(self) -> None:
        policy = RestartPolicy(Settings(restart_limit=2, restart_cool_down_s=60))
        for now in (0.0, 1.0, 2.0):
            assert not policy.failed
            policy.died(now)
        assert policy.failed
        assert policy.wait_s(2.0) == 60.0
        assert policy.wait_s(62.0) == 0.0
        assert not policy.failed

    def test_a_process_that_cannot_be_had_is_no_death_and_waits_twice_as_long(self) -> None:
        settings = Settings(restart_limit=1, restart_backoff_s=0.5, restart_backoff_max_s=30)
        policy = RestartPolicy(settings, jitter=lambda: 1.0)
        waits = []
        for now in range(100, 2100):
            policy.refused(now)
            waits.append(policy.wait_s(now))
        assert waits[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        assert set(waits[8:]) == {30.0}
        assert policy.is_refused
        assert not policy.failed
        policy.launched()
        policy.refused(2200.0)
        assert policy.wait_s(2200.0) == 0.5

    def test_what_the_cluster_loses_is_no_death_and_is_had_again_at_once_and_then_ever_later(
        self,
    ) -> None:
        settings = Settings(restart_limit=1, restart_backoff_s=0.5, restart_backoff_max_s=30)
        policy = RestartPolicy(settings, jitter=lambda: 1.0)
        waits = []
        for now in range(100, 2100):
            policy.lost(now)
            waits.append(policy.wait_s(now))
            assert not policy.failed
        assert waits[:8] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
        assert set(waits[8:]) == {30.0}
        policy.ask_cluster_again()
        assert policy.wait_s(2100.0) == 0.0
        assert not policy.is_calm(2100.0)
        assert policy.is_calm(2200.0)
        policy.lost(2200.0)
        assert policy.wait_s(2200.0) == 0.0

    def test_deaths_of_long_ago_do_not_count(self) -> None:
        policy = RestartPolicy(Settings(restart_limit=2, restart_window_s=60))
        for now in (0.0, 100.0, 200.0, 300.0):
            policy.died(now)
            assert policy.wait_s(now) == 0.0

    @given(st.lists(st.floats(0, 5), max_size=200))
    def test_no_minute_sees_more_than_six_starts_however_often_it_dies(
        self, lives_s: list[float]
    ) -> None:
        policy = RestartPolicy(Settings())
        now, starts = 0.0, [0.0]
        for life_s in lives_s:
            now += life_s
            policy.died(now)
            now += policy.wait_s(now)
            starts.append(now)
        for start in starts:
            assert sum(start <= other < start + 60 for other in starts) <= 6
