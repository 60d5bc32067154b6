"""What is decided after a death: when to start again, whose fault it was, who comes back how."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpkernel.server.deaths import Death, Reason, culprit_of, reason_of
from mpkernel.server.endings import ExitStatus
from mpkernel.server.recovery import Involved, Plan, RestartPolicy, plan_of
from mpkernel.settings import Settings

CRASH = """\
Fatal Python error: Segmentation fault

Thread 0x00007f0000000010 (most recent call first):
  File "app.py", line 1 in wait
Current thread 0x00007f0000000020 (most recent call first):
  File "app.py", line 9 in boom
"""


def death(reason: Reason = Reason.KILLED, faults: str = "") -> Death:
    return Death(app="/app.py", pid=1, reason=reason, what="it died", faults=faults)


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


class TestReasons:
    @pytest.mark.parametrize(
        ("code", "out_of_memory", "reason"),
        [
            (3, False, Reason.EXIT),
            (-11, False, Reason.CRASH),
            (-6, True, Reason.CRASH),
            (-9, False, Reason.KILLED),
            (-9, True, Reason.OUT_OF_MEMORY),
            (-15, True, Reason.KILLED),
            (None, False, Reason.UNKNOWN),
        ],
    )
    def test_the_exit_status_tells(
        self, code: int | None, out_of_memory: bool, reason: Reason
    ) -> None:
        assert reason_of(ExitStatus(code), out_of_memory=out_of_memory) is reason


THREADS = {"a": 0x00007F0000000010, "b": 0x00007F0000000020}


class TestCulprits:
    def test_the_crash_names_the_thread(self) -> None:
        crash = death(Reason.CRASH, CRASH)
        assert culprit_of(crash, THREADS, {"a", "b"}) == "b"

    def test_a_thread_that_user_code_started_points_at_the_one_that_ran(self) -> None:
        crash = death(Reason.CRASH, CRASH)
        assert culprit_of(crash, {"a": 1, "b": 2}, {"a"}) == "a"
        assert culprit_of(crash, {"a": 1, "b": 2}, {"a", "b"}) is None

    def test_who_ran_alone_has_made_it_leave(self) -> None:
        assert culprit_of(death(Reason.EXIT), THREADS, {"a"}) == "a"
        assert culprit_of(death(Reason.EXIT), THREADS, set()) is None

    def test_what_a_crash_wrote_says_nothing_of_an_exit(self) -> None:
        assert culprit_of(death(Reason.EXIT, CRASH), THREADS, {"a"}) == "a"
        assert culprit_of(death(Reason.EXIT, CRASH), THREADS, {"a", "b"}) is None

    def test_nobody_is_guilty_of_what_came_from_elsewhere(self) -> None:
        for reason in (Reason.KILLED, Reason.OUT_OF_MEMORY, Reason.LIMIT, Reason.HANG):
            assert culprit_of(death(reason, CRASH), THREADS, {"a"}) is None


class TestPlans:
    def test_who_acted_last_comes_back_first(self) -> None:
        sessions = [Involved("old", 1.0), Involved("new", 3.0), Involved("middle", 2.0)]
        assert plan_of(sessions, None) == Plan(None, ["new", "middle", "old"], [], False)

    def test_suspects_come_back_last_and_alone(self) -> None:
        sessions = [Involved("a", 1.0, running=True), Involved("b", 2.0), Involved("c", 3.0, True)]
        assert plan_of(sessions, None) == Plan(None, ["b"], ["c", "a"], False)

    def test_with_a_culprit_nobody_else_is_suspected(self) -> None:
        sessions = [Involved("a", 1.0, running=True), Involved("b", 2.0, running=True)]
        assert plan_of(sessions, "a") == Plan("a", ["b"], ["a"], False)

    def test_a_suspect_that_dies_while_it_comes_back_alone_is_the_culprit(self) -> None:
        alone = Involved("a", 1.0, running=True, rebuilding=True, alone=True)
        assert plan_of([alone, Involved("b", 2.0)], None) == Plan("a", ["b"], ["a"], False)

    def test_it_is_not_while_another_session_runs_something_new(self) -> None:
        alone = Involved("a", 1.0, running=True, rebuilding=True, alone=True)
        new = Involved("b", 3.0, running=True, has_news=True)
        came_back = Involved("c", 2.0, running=True, rebuilding=True)
        assert plan_of([alone, new, came_back], None) == Plan(None, ["c"], ["b", "a"], False)

    def test_nor_while_another_one_is_brought_back_with_something_new(self) -> None:
        alone = Involved("a", 1.0, running=True, rebuilding=True, alone=True)
        new = Involved("b", 3.0, running=True, rebuilding=True, has_news=True)
        assert plan_of([alone, new], None) == Plan(None, [], ["b", "a"], False)

    def test_others_that_are_only_brought_back_are_no_suspects(self) -> None:
        alone = Involved("a", 1.0, running=True, rebuilding=True, alone=True)
        came_back = Involved("b", 2.0, running=True, rebuilding=True)
        assert plan_of([alone, came_back], None) == Plan("a", ["b"], ["a"], False)

    def test_the_second_time_it_is_closed(self) -> None:
        alone = Involved("a", 1.0, running=True, rebuilding=True, alone=True, strikes=1)
        assert plan_of([alone, Involved("b", 2.0)], None) == Plan("a", ["b"], [], True)

    def test_the_third_strike_closes_whatever_it_did(self) -> None:
        for strikes, closed in ((0, False), (1, False), (2, True)):
            sessions = [Involved("a", 1.0, running=True, strikes=strikes)]
            assert plan_of(sessions, "a").closed is closed

    @given(st.data())
    def test_everybody_has_exactly_one_fate(self, data: st.DataObject) -> None:
        sessions = [
            data.draw(
                st.builds(
                    Involved,
                    st.just(str(number)),
                    st.floats(0, 100),
                    st.booleans(),
                    st.booleans(),
                    st.booleans(),
                    st.integers(0, 3),
                )
            )
            for number in range(data.draw(st.integers(0, 6)))
        ]
        names = [session.session for session in sessions]
        plan = plan_of(sessions, data.draw(st.sampled_from([None, *names])))
        closed = [plan.culprit] if plan.closed else []
        assert sorted([*plan.together, *plan.one_by_one, *closed]) == sorted(names)
