"""What is decided after a death: which session caused it, and how each session is restored."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpkernel.server.apps.recovery_plan import Involved, Plan, culprit_of, plan_of
from mpkernel.server.supervision.deaths import Death, Reason

CRASH = """\
Fatal Python error: Segmentation fault

Thread 0x00007f0000000010 (most recent call first):
  File "app.py", line 1 in wait
Current thread 0x00007f0000000020 (most recent call first):
  File "app.py", line 9 in boom
"""


def death(reason: Reason = Reason.KILLED, faults: str = "") -> Death:
    return Death(app="/app.py", pid=1, reason=reason, what="it died", faults=faults)


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
