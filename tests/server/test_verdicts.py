"""What is decided about a host, from its samples and pongs alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpkernel import Settings
from mpkernel.errors import SettingsError
from mpkernel.server.supervision.deaths import Reason
from mpkernel.server.supervision.usage import Usage
from mpkernel.server.supervision.verdicts import Action, HostWatch, Verdict

REFUSE, ACCEPT, REPLACE, RESTART = Action.REFUSE, Action.ACCEPT, Action.REPLACE, Action.RESTART
TIMEOUT_S = 60.0


def used(at: float, **of: Any) -> Usage:
    """A sample at this time. Values that are not given are small."""
    little: dict[str, Any] = {
        "rss_bytes": 1,
        "cpu_s": 0.0,
        "host_cpu_s": 0.0,
        "threads": 1,
        "descriptors": 3,
        "processes": 1,
    }
    return Usage(taken_at=at, **(little | of))


def watch_with(**limits: Any) -> HostWatch:
    return HostWatch(Settings(**limits), born_at=0.0)


def verdicts_on(watch: HostWatch, samples: Iterable[Usage]) -> list[tuple[float, Verdict]]:
    """Every verdict, with the time of the sample that brought it."""
    return [(sample.taken_at, verdict) for sample in samples for verdict in watch.sampled(sample)]


def actions_on(watch: HostWatch, samples: Iterable[Usage]) -> list[tuple[float, Action]]:
    return [(at, verdict.action) for at, verdict in verdicts_on(watch, samples)]


def test_a_host_without_limits_that_answers_is_left_alone() -> None:
    watch = watch_with()
    for at in range(100):
        if watch.ping_is_due(at):
            watch.ponged(watch.pinged(at))
        assert watch.sampled(used(at, rss_bytes=2**40, threads=10**4, descriptors=10**4)) == []


class TestMemory:
    @pytest.mark.parametrize(
        ("megabytes", "expected"),
        [
            ([50, 100], []),
            ([101, 500, 101], [(0, REFUSE)]),
            ([101, 99, 90], [(0, REFUSE)]),
            ([101, 99, 89, 95], [(0, REFUSE), (2, ACCEPT)]),
            ([101, 89, 99, 101, 10], [(0, REFUSE), (1, ACCEPT), (3, REFUSE), (4, ACCEPT)]),
        ],
    )
    def test_over_the_soft_limit_no_sessions_until_it_is_well_below(
        self, megabytes: list[int], expected: list[tuple[float, Action]]
    ) -> None:
        watch = watch_with(memory_soft_bytes=100)
        samples = [used(at, rss_bytes=size) for at, size in enumerate(megabytes)]
        assert actions_on(watch, samples) == expected

    @given(st.lists(st.integers(0, 200)))
    def test_sessions_are_refused_exactly_while_memory_is_short(self, sizes: list[int]) -> None:
        watch = watch_with(memory_soft_bytes=100)
        refuses = False
        for at, size in enumerate(sizes):
            for verdict in watch.sampled(used(at, rss_bytes=size)):
                assert verdict.action is (ACCEPT if refuses else REFUSE)
                refuses = not refuses
            if size > 100 or size < 90:
                assert refuses is (size > 100)

    def test_over_the_hard_limit_it_is_restarted_and_judged_no_more(self) -> None:
        watch = watch_with(memory_soft_bytes=100, memory_hard_bytes=200, max_threads=1)
        samples = [used(at, rss_bytes=size, threads=at) for at, size in enumerate([201, 500, 50])]
        assert actions_on(watch, samples) == [(0, RESTART)]

    def test_a_verdict_names_the_limit_and_what_was_used(self) -> None:
        watch = watch_with(memory_hard_bytes=1024 * 2**20)
        [verdict] = watch.sampled(used(0, rss_bytes=1536 * 2**20, processes=3))
        assert verdict.reason is Reason.LIMIT
        assert verdict.what == (
            "used 1536 MiB of memory in 3 processes (memory_hard_bytes is 1024 MiB)"
        )


class TestSilence:
    def test_one_that_neither_answers_nor_computes_is_restarted(self) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        watch.sampled(used(0, host_cpu_s=5.0))
        watch.pinged(0)
        verdicts = verdicts_on(watch, [used(at, host_cpu_s=5.0) for at in range(1, 200)])
        [(at, verdict)] = verdicts
        assert at == TIMEOUT_S
        assert (verdict.action, verdict.reason) == (RESTART, Reason.HANG)
        assert "did not answer for 60 s" in verdict.what

    def test_one_that_computes_is_busy_however_long(self) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        watch.pinged(0)
        samples = [used(at, host_cpu_s=at * 0.02) for at in range(1, 10_000)]
        assert actions_on(watch, samples) == []

    def test_one_that_computed_and_then_locked_up_is_restarted(self) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        watch.pinged(0)
        samples = [used(at, host_cpu_s=min(at, 100)) for at in range(1, 1000)]
        assert actions_on(watch, samples) == [(100 + TIMEOUT_S, RESTART)]

    def test_the_trickle_of_a_librarys_idle_thread_is_no_life(self) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        watch.sampled(used(0))
        watch.pinged(0)
        samples = [used(at, host_cpu_s=0.01 * (at // 10)) for at in range(1, 100)]
        assert actions_on(watch, samples) == [(TIMEOUT_S, RESTART)]

    def test_what_its_children_compute_is_not_its_own_life(self) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        watch.pinged(0)
        samples = [used(at, cpu_s=at) for at in range(1, 100)]
        assert actions_on(watch, samples) == [(TIMEOUT_S, RESTART)]

    def test_cpu_time_from_before_the_ping_is_no_sign_of_life(self) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        for at in range(50):
            watch.sampled(used(at, host_cpu_s=at))
        watch.pinged(49)
        samples = [used(at, host_cpu_s=49) for at in range(50, 200)]
        assert actions_on(watch, samples) == [(49 + TIMEOUT_S, RESTART)]

    def test_a_late_answer_counts(self) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        number = watch.pinged(0)
        assert actions_on(watch, map(used, range(1, 60))) == []
        watch.ponged(number)
        assert actions_on(watch, map(used, range(60, 200))) == []

    def test_the_answer_to_an_earlier_ping_does_not(self) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        first = watch.pinged(0)
        watch.ponged(first)
        watch.pinged(5)
        watch.ponged(first)
        assert actions_on(watch, map(used, range(5, 100))) == [(5 + TIMEOUT_S, RESTART)]

    def test_a_pause_of_the_server_itself_is_not_held_against_the_host(self) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        watch.sampled(used(0))
        number = watch.pinged(0)
        assert actions_on(watch, [used(1), used(3600)]) == []
        watch.ponged(number)
        assert actions_on(watch, [used(3601), used(3661)]) == []

    def test_no_answer_after_a_pause_of_the_server_is_a_hang_all_the_same(self) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        watch.sampled(used(0))
        watch.pinged(0)
        [(at, action)] = actions_on(watch, map(used, [1, 3600, *range(3601, 3700)]))
        assert action is RESTART
        assert 3600 + TIMEOUT_S / 2 < at <= 3600 + TIMEOUT_S

    @given(st.lists(st.floats(0.01, TIMEOUT_S / 4), min_size=100, max_size=100))
    def test_a_hang_is_found_soon_whenever_samples_are_taken(self, steps_s: list[float]) -> None:
        watch = watch_with(ping_timeout_s=1.0)
        now = 0.0
        watch.pinged(now)
        for step_s in (step_s / TIMEOUT_S for step_s in steps_s):
            verdicts = watch.sampled(used(now := now + step_s))
            assert bool(verdicts) is (now >= 1.0)
            if verdicts:
                return

    @given(st.lists(st.tuples(st.floats(0.01, 100.0), st.floats(0, 100.0))))
    def test_one_that_answers_every_ping_is_never_restarted(
        self, steps: list[tuple[float, float]]
    ) -> None:
        watch = watch_with(ping_timeout_s=TIMEOUT_S)
        now = cpu_s = 0.0
        for step_s, computed_s in steps:
            now, cpu_s = now + step_s, cpu_s + computed_s
            if watch.ping_is_due(now):
                watch.ponged(watch.pinged(now))
            assert watch.sampled(used(now, host_cpu_s=cpu_s)) == []


class TestPings:
    def test_one_is_due_at_once_and_then_at_every_interval(self) -> None:
        watch = watch_with(ping_interval_s=5.0)
        sent = []
        for at in range(16):
            if watch.ping_is_due(at):
                watch.ponged(watch.pinged(at))
                sent.append(at)
        assert sent == [0, 5, 10, 15]

    def test_none_is_due_while_one_is_not_answered(self) -> None:
        watch = watch_with(ping_interval_s=5.0)
        number = watch.pinged(0)
        assert not watch.ping_is_due(1000)
        watch.ponged(number)
        assert watch.ping_is_due(1000)

    def test_each_has_a_number_of_its_own(self) -> None:
        watch = watch_with()
        assert len({watch.pinged(at) for at in range(10)}) == 10

    def test_none_is_due_where_a_hang_is_nothing_to_look_for(self) -> None:
        assert not watch_with(ping_timeout_s=None).ping_is_due(1000)


class TestRest:
    def sampled_at(self, watch: HostWatch, *, computes_from: int) -> list[int]:
        """The turns, of 40, in which a host is sampled that does nothing until this one."""
        watch.ponged(watch.pinged(0))
        sampled = []
        for turn in range(40):
            if watch.sample_is_due():
                watch.sampled(used(turn, cpu_s=max(0, turn - computes_from)))
                sampled.append(turn)
        return sampled

    def test_a_host_that_computes_nothing_is_sampled_in_each_fourth_turn(self) -> None:
        sampled = self.sampled_at(watch_with(), computes_from=40)
        assert sampled == [*range(5), *range(8, 40, 4)]

    def test_when_it_computes_again_it_is_sampled_in_every_turn(self) -> None:
        sampled = self.sampled_at(watch_with(), computes_from=22)
        assert sampled == [*range(5), 8, 12, 16, 20, *range(24, 40)]

    @pytest.mark.parametrize("limit", ["memory_soft_bytes", "memory_hard_bytes"])
    def test_with_a_limit_on_its_memory_it_is_sampled_in_every_turn(self, limit: str) -> None:
        sampled = self.sampled_at(watch_with(**{limit: 100}), computes_from=40)
        assert sampled == [*range(40)]

    def test_while_a_ping_is_not_answered_it_is_sampled_in_every_turn(self) -> None:
        watch = watch_with()
        self.sampled_at(watch, computes_from=40)
        watch.pinged(40)
        assert all(watch.sample_is_due() for _ in range(10))

    def test_its_pings_have_four_times_the_distance(self) -> None:
        watch = watch_with(ping_interval_s=5.0)
        self.sampled_at(watch, computes_from=40)
        assert not watch.ping_is_due(19)
        assert watch.ping_is_due(20)


class TestOutgrown:
    @pytest.mark.parametrize(
        ("limit", "below", "over"),
        [
            ({"max_threads": 10}, used(1, threads=10), used(2, threads=11)),
            ({"max_descriptors": 10}, used(1, descriptors=10), used(2, descriptors=11)),
            ({"max_descriptors": 10}, used(1, descriptors=None), used(2, descriptors=11)),
            ({"max_age_s": 10}, used(10), used(10.5)),
        ],
    )
    def test_it_is_replaced_once(self, limit: dict[str, float], below: Usage, over: Usage) -> None:
        watch = watch_with(**limit)
        [(at, verdict)] = verdicts_on(watch, [below, over, over])
        assert at == over.taken_at
        assert (verdict.action, verdict.reason) == (REPLACE, Reason.LIMIT)
        assert next(iter(limit)) in verdict.what

    def test_several_limits_replace_it_once(self) -> None:
        watch = watch_with(max_threads=10, max_age_s=10)
        assert actions_on(watch, [used(at, threads=at) for at in range(30)]) == [(11, REPLACE)]

    def test_the_time_in_which_it_waited_for_a_machine_is_not_part_of_its_age(self) -> None:
        watch = watch_with(max_age_s=10)
        watch.launched(100.0)
        assert actions_on(watch, [used(at) for at in range(100, 120)]) == [(111, REPLACE)]

    def test_while_it_drains_it_may_still_run_out_of_memory(self) -> None:
        watch = watch_with(max_age_s=10, memory_hard_bytes=100)
        samples = [used(11), used(12, rss_bytes=101)]
        assert actions_on(watch, samples) == [(11, REPLACE), (12, RESTART)]


def test_the_last_minute_of_samples_is_kept_and_no_more() -> None:
    watch = watch_with(memory_hard_bytes=1000)
    for at in range(1000):
        watch.sampled(used(at, rss_bytes=at * 2))
    assert [usage.rss_bytes for usage in watch.history] == list(range(1880, 2000, 2))


@pytest.mark.parametrize(
    "limits",
    [
        {"watch_interval_s": 0},
        {"ping_interval_s": -1},
        {"ping_timeout_s": 0},
        {"max_threads": 0},
        {"max_descriptors": -5},
        {"max_age_s": 0},
        {"memory_hard_bytes": 0},
        {"memory_soft_bytes": 101, "memory_hard_bytes": 100},
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(limits))):
        Settings(**limits)  # type: ignore[arg-type]
